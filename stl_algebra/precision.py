"""The floating-point formats that the project speaks of: one vocabulary, no torch.

A precision is asked for by its short name ("bf16") or by torch's ("bfloat16", `torch.bfloat16`). What
rounding in it costs is measured (`algorithms.scores.rounding_constant`).
"""

from __future__ import annotations

from dataclasses import dataclass

from stl_algebra.errors import InvalidInput


@dataclass(frozen=True)
class Precision:
    """One format.

    Attributes:
        name: short, as on the command line.
        stored: torch's name of the dtype that holds its numbers; TF32 numbers are held in float32.
        words: for axes and sentences.
        bytes: of a stored number.
    """

    name: str
    stored: str
    words: str
    bytes: int


#: Coarse to fine.
PRECISIONS: dict[str, Precision] = {
    p.name: p
    for p in (
        Precision("bf16", "bfloat16", "bfloat16", 2),
        Precision("fp16", "float16", "float16", 2),
        Precision("tf32", "float32", "TF32", 4),
        Precision("fp32", "float32", "float32", 4),
    )
}

#: Bytes of a number by torch's name of its dtype.
BYTES: dict[str, int] = {p.stored: p.bytes for p in PRECISIONS.values()}


def precision(dtype: object) -> Precision:
    """The precision of a short name, of torch's name, or of a torch dtype; float32 is "fp32".

    Raises:
        InvalidInput: unknown dtype; lists the short names.
    """
    text = str(dtype).removeprefix("torch.")
    for known in (PRECISIONS.get(text), *reversed(PRECISIONS.values())):
        if known is not None and text in (known.name, known.stored):
            return known
    raise InvalidInput("dtype", expected=f"one of {', '.join(PRECISIONS)}", got=repr(dtype))
