"""Capturing activations and weights of a transformers model on a text, for scoring on real matrices.

Writes one safetensors file. For every captured linear layer NAME: `NAME.x` (N, K), rows of the test
windows; `NAME.calibration` (N', K), rows of the other windows; `NAME.w` (K, M); and, once for layers that
read the same input, the mean and covariance of all rows of the calibration windows (`NAME.count`, `.mean`,
`.deviation`, `.root`: see `stl_algebra.numerics.moments`). Metadata say which model, text and command made
it, and which layer's moments are whose. Nothing is downloaded: model and tokenizer come from a local folder.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically
from stl_algebra.progress import Progress
from stl_algebra.version import __version__
from stl_kernels.layers.dense import is_dense, read_dense
from stl_models.activations.captured import SETTLED, Captured, gather
from stl_models.activations.loading import Loaded, forward_of, load, tokens_of
from stl_models.activations.recording import record


@dataclass(frozen=True)
class CaptureOptions:
    """What to capture.

    Attributes:
        layers: shell patterns of module names; linear layers that match any are captured, but for those that
            match a pattern after a "!".
        rows: test rows of every layer, and as many calibration rows, that the file keeps.
        moment_rows: rows that moments are taken from; fewer where the text ends, which is reported.
        length: tokens per window.
        seed: of the choice of windows and rows.

    Raises:
        InvalidInput: a value is out of range.
    """

    layers: tuple[str, ...] = ("*",)
    rows: int = 512
    moment_rows: int = 24_000
    length: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "layers", (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
        )
        for name, least in (("rows", 1), ("moment_rows", SETTLED), ("length", 2), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInput(name, expected=f"a number of at least {least}", got=value)

    def matches(self, name: str) -> bool:
        """Whether a module of this name is asked for."""
        wanted = [p for p in self.layers if not p.startswith("!")] or ["*"]
        refused = [p[1:] for p in self.layers if p.startswith("!")]
        return any(fnmatch.fnmatchcase(name, p) for p in wanted) and not any(
            fnmatch.fnmatchcase(name, p) for p in refused
        )


@dataclass(frozen=True)
class Labels:
    """What a file says about itself: the licence of model and text, the command that made it."""

    licence: str = ""
    command: str = ""


def capture(
    model_folder: str | Path,
    text_file: str | Path,
    out: str | Path,
    options: CaptureOptions | None = None,
    labels: Labels | None = None,
    progress: Progress | None = None,
) -> Captured:
    """Run the model over windows of the text; keep few rows of every layer, and the moments of many.

    Windows are drawn at random; test rows are from those later in the text, calibration rows and moments
    from the earlier ones, so that no window serves both. Rows of a tile are unrelated positions. Memory:
    8 K^2 bytes for every distinct input, beside the model.

    Args:
        model_folder: a local folder with a model whose forward takes token ids, and its tokenizer.
        text_file: UTF-8 text.
        out: the file to write.
        options: layers, numbers of rows, length of windows, seed.
        labels: stored with the file.
        progress: called per window.

    Raises:
        Unavailable: transformers is not installed, or the output cannot be written.
        InvalidInput: no such folder or file, not a model that runs on token ids, no layer matches (lists
            some) or none has rows enough (says why), text too short.
    """
    options, labels = options or CaptureOptions(), labels or Labels()
    folder, text_path = Path(model_folder), Path(text_file)
    if not folder.is_dir():
        raise InvalidInput(
            "model", expected="a local folder with a transformers model", got=str(model_folder)
        )
    if not text_path.is_file():
        raise InvalidInput("text", expected="an existing text file", got=str(text_file))
    text = text_path.read_text(encoding="utf-8", errors="replace")
    loaded = load(folder)
    chosen, skipped = _choose(loaded, options)
    windows = _windows(tokens_of(loaded, text), options)
    groups = record(
        chosen, windows, forward_of(loaded), rows=options.rows, seed=options.seed, progress=progress
    )
    gathered = gather(loaded.model, chosen, groups, options.rows, len(windows))
    skipped.update(gathered.skipped)
    if not gathered.layers:
        shown = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
        raise InvalidInput("layers", expected="a layer that can be captured", got=f"none ({shown})")
    metadata = {
        "stl_capture_version": "2",
        "model": folder.name,
        "text": json.dumps({"name": text_path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()}),
        "moments": json.dumps(gathered.moments_of),
        "skipped": json.dumps(skipped),
        "licence": labels.licence,
        "command": labels.command,
        "version": __version__,
    }
    path = write_atomically(out, save(gathered.tensors, metadata))
    return Captured(path, tuple(gathered.layers), skipped)


def _choose(loaded: Loaded, options: CaptureOptions) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Layers to record, and those left out before the model runs, with the reason."""
    modules = dict(loaded.model.named_modules())
    linear = {n: m for n, m in modules.items() if is_dense(m)}
    matching = {n: m for n, m in modules.items() if n and options.matches(n)}
    chosen: dict[str, nn.Module] = {}
    skipped: dict[str, str] = {}
    for name, module in matching.items():
        if name not in linear and not hasattr(module, "in_features"):
            continue
        try:
            weight = read_dense(module, name).weight
        except InvalidInput as error:
            skipped[name] = f"{error.expected} needed, got {error.got}"
            continue
        if f"{name}.weight" in loaded.missing:
            skipped[name] = "the model's files do not hold its weights"
        elif not bool(weight.any()):
            skipped[name] = "its weights are all zero"
        else:
            chosen[name] = module
    if not chosen:
        shown = ", ".join(list(linear)[:6]) or "none: it has no linear layers"
        why = "".join(f"; {name}: {reason}" for name, reason in list(skipped.items())[:2])
        raise InvalidInput(
            "layers", expected=f"a pattern that matches a linear layer such as {shown}",
            got=f"{', '.join(options.layers)}{why}",
        )  # fmt: skip
    return chosen, skipped


def _windows(tokens: list[int], options: CaptureOptions) -> list[tuple[list[int], bool]]:
    """Windows with whether they are for testing: calibration first."""
    length = options.length
    whole = [tokens[i : i + length] for i in range(0, len(tokens) - length + 1, length)]
    if len(whole) < 2:
        raise InvalidInput("text", expected=f"at least {2 * length} tokens", got=f"{len(tokens)} tokens")
    # At most an eighth of a window's positions are kept, so that rows are of many contexts.
    testing = min(-(-options.rows // max(1, length // 8)), len(whole) // 2)
    calibrating = max(testing, -(-options.moment_rows // length))
    drawn = np.random.default_rng(options.seed).permutation(len(whole))[: testing + calibrating]
    picked = [whole[i] for i in np.sort(drawn)]
    first_test = len(picked) - testing
    return [(window, number >= first_test) for number, window in enumerate(picked)]
