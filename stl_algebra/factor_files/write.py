"""Writing an algorithm for programs that read no encoders files; the suffix says the kind, and nothing else
does.

    .safetensors    an encoders file with its proof
    .npz            encode_x (r, nk), encode_w (r, km), decode (nm, r); u (nk, r), v (km, r), w (nm, r)
    .json           the same as lists of rows, exact entries as integers or "p/q"; u, v, w with a row per
    product .sms            three files of sparse triples, NAME_L.sms, NAME_R.sms, NAME_P.sms (plinopt)
    .py             a function on numpy arrays
    .tex            the scheme as a list of products and sums

What does not belong here: reading (`read`), the text of schemes (`code`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.verify import rational_entry
from stl_algebra.errors import InvalidInput
from stl_algebra.factor_files.code import latex, numpy_code
from stl_algebra.files import write_atomically

#: Whether u, v, w give C = A B, or its transpose as many programs have it.
CONVENTIONS = ("C", "C^T")


def write_factors(judged: Judged, target: str | Path, convention: str = "C") -> list[Path]:
    """Write an algorithm in the kind of file that the suffix names; returns what was written.

    Args:
        judged: the algorithm with its proof.
        target: the file; for .sms the name from which the three are made.
        convention: "C" or "C^T", the output that u, v, w (and SMS triples) compute.

    Raises:
        InvalidInput: unknown suffix or convention.
        Unavailable: a file cannot be written.
    """
    path = Path(target)
    if convention not in CONVENTIONS:
        raise InvalidInput("output-convention", expected=" or ".join(CONVENTIONS), got=repr(convention))
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise InvalidInput("to", expected=f"a file name that ends in {', '.join(_WRITERS)}", got=str(target))
    return writer(judged, path, _output(judged.algorithm, convention))


def _output(algorithm: BilinearAlgorithm, convention: str) -> Array:
    """The decoder (nm, r) of C, or of C^T."""
    if convention == "C":
        return algorithm.decode
    t = algorithm.tile
    return algorithm.decode.reshape(t.n, t.m, -1).transpose(1, 0, 2).reshape(t.y_size, -1)


def _safetensors(judged: Judged, path: Path, output: Array) -> list[Path]:
    return [save_encoders(path, judged)]


def _npz(judged: Judged, path: Path, output: Array) -> list[Path]:
    a, buffer = judged.algorithm, io.BytesIO()
    np.savez(
        buffer,
        encode_x=a.encode_x,
        encode_w=a.encode_w,
        decode=a.decode,
        u=a.encode_x.T,
        v=a.encode_w.T,
        w=output,
        format=np.array([a.tile.n, a.tile.k, a.tile.m]),
    )
    return [write_atomically(path, buffer.getvalue())]


def _json(judged: Judged, path: Path, output: Array) -> list[Path]:
    a, exact = judged.algorithm, judged.exact
    factors = {"encode_x": a.encode_x, "encode_w": a.encode_w, "decode": a.decode}
    rows = {"u": a.encode_x, "v": a.encode_w, "w": output.T}
    document = {
        "format": [a.tile.n, a.tile.k, a.tile.m],
        "rank": a.rank,
        "name": a.name,
        "exactness": judged.verification.certificate(),
        **{name: _entries(factor, exact) for name, factor in factors.items()},
        "provenance": a.provenance.as_json(),
        # As catalogues have it: a row per product.
        "n": [a.tile.n, a.tile.k, a.tile.m],
        "m": a.rank,
        "z2": bool(judged.verification.gf2 and not exact),
        **{name: _entries(factor, exact) for name, factor in rows.items()},
    }
    return [write_atomically(path, json.dumps(document, indent=1) + "\n")]


def _sms(judged: Judged, path: Path, output: Array) -> list[Path]:
    a = judged.algorithm
    parts = {"L": a.encode_x, "R": a.encode_w, "P": output}
    written = []
    for letter, matrix in parts.items():
        lines = [f"{matrix.shape[0]} {matrix.shape[1]} M"]
        for (i, j), value in np.ndenumerate(matrix):
            if value:
                lines.append(f"{i + 1} {j + 1} {_entry(float(value), judged.exact)}")
        text = "\n".join([*lines, "0 0 0"]) + "\n"
        written.append(write_atomically(path.with_name(f"{path.stem}_{letter}.sms"), text))
    return written


def _python(judged: Judged, path: Path, output: Array) -> list[Path]:
    return [write_atomically(path, numpy_code(judged))]


def _tex(judged: Judged, path: Path, output: Array) -> list[Path]:
    return [write_atomically(path, latex(judged))]


def _entry(value: float, exact: bool) -> object:
    fraction = rational_entry(value) if exact else None
    if fraction is None:
        return value
    return int(fraction) if fraction.denominator == 1 else str(fraction)


def _entries(factor: Array, exact: bool) -> list[list[object]]:
    return [[_entry(float(v), exact) for v in row] for row in factor]


_WRITERS: dict[str, Callable[[Judged, Path, Array], list[Path]]] = {
    ".npz": _npz,
    ".json": _json,
    ".safetensors": _safetensors,
    ".sms": _sms,
    ".py": _python,
    ".tex": _tex,
}
SUFFIXES = tuple(_WRITERS)
