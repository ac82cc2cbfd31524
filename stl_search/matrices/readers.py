"""Reading matrices to score on: ensembles by name, captures that ship with the package, files.

What does not belong here: making captures of a model (`stl_models.activations`), errors (`judging`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.moments import PACKED, Moments
from stl_search.matrices.ensembles import CALIBRATION_ROWS, ENSEMBLES, random_pair
from stl_search.matrices.names import BUNDLED
from stl_search.matrices.pair import MatrixPair, _checked, make_pair


def load_matrices(spec: str, size: int = 512, seed: int = 0) -> list[MatrixPair]:
    """Pairs from one `--matrices` value.

    Args:
        spec: a random ensemble, "random" for all of them, a bundled capture ("minilm"), or a file:
            .npz or .safetensors with arrays x and w (or NAME.x and NAME.w, optionally NAME.calibration and
            the moments of more calibration rows: NAME.count, NAME.mean and NAME.second, or as captures
            store them),
            X.npy,W.npy for two files, W.npy for a W alone (X is then Gaussian).
        size: side of random matrices.
        seed: of random matrices.

    Raises:
        InvalidInput: unknown name (lists the known), no such file, a foreign or truncated file, bad
            matrices.
    """
    if spec == "random":
        return [random_pair(e, size, seed) for e in ENSEMBLES]
    if spec in ENSEMBLES:
        return [random_pair(spec, size, seed)]
    if spec in BUNDLED:
        with_data = files("stl_search").joinpath(BUNDLED[spec])
        return _from_arrays(spec, *_read_safetensors(Path(str(with_data))), spec)
    parts = [Path(p) for p in spec.split(",")]
    suffixes = {p.suffix for p in parts}
    if not suffixes <= {".npz", ".npy", ".safetensors"} or len(parts) > 2:
        known = ", ".join([*ENSEMBLES, "random", *BUNDLED])
        raise InvalidInput(
            "matrices", expected=f"{known}, or a .npz, .npy or .safetensors file", got=repr(spec)
        )
    for path in parts:
        if not path.is_file():
            raise InvalidInput("matrices", expected="an existing file", got=str(path))
    if len(parts) == 2:
        x, w = (_read_npy(p) for p in parts)
        return [make_pair(parts[1].stem, x, w, source=spec)]
    path = parts[0]
    if path.suffix == ".npy":
        w = _checked(f"{path.name}: W", _read_npy(path))
        size = len(w)
        rows = np.random.default_rng(seed).normal(size=(1024, size))
        pair = make_pair(path.stem, rows[:512], w, rows[512:], f"{path.name} with Gaussian X")
        # Of the distribution itself: what any number of rows would give.
        return [pair.with_moments(Moments(CALIBRATION_ROWS * size, np.zeros(size), np.eye(size)))]
    if path.suffix == ".safetensors":
        return _from_arrays(path.stem, *_read_safetensors(path), str(path))
    return _from_arrays(path.stem, _read_npz(path), {}, str(path))


def _from_arrays(
    name: str, arrays: dict[str, NDArray[np.generic]], moments_of: Mapping[str, str], source: str
) -> list[MatrixPair]:
    """Pairs of all stems; `moments_of` says under which other stem the moments of one are."""
    known: dict[str, Moments | None] = {}
    stems = sorted(
        {key[:-1].rstrip(".") for key in arrays if key in ("x", "w") or key.endswith((".x", ".w"))}
    )
    pairs = []
    for stem in stems:
        prefix = f"{stem}." if stem else ""
        missing = [f"{prefix}{k}" for k in "xw" if f"{prefix}{k}" not in arrays]
        if missing:
            raise InvalidInput(
                f"matrices {source}", expected=f"both {prefix}x and {prefix}w", got=f"no {missing[0]}"
            )
        pair = make_pair(
            f"{name}:{stem}" if stem else name,
            arrays[f"{prefix}x"],
            arrays[f"{prefix}w"],
            arrays.get(f"{prefix}calibration"),
            source,
        )
        holder = moments_of.get(stem, stem)
        if holder not in known:
            known[holder] = _moments(arrays, holder, source)
        moments = known[holder]
        pairs.append(pair if moments is None else pair.with_moments(moments))
    if not pairs:
        raise InvalidInput(
            f"matrices {source}",
            expected="arrays x and w, or NAME.x and NAME.w",
            got=f"arrays {', '.join(sorted(arrays)[:6]) or 'none'}",
        )
    return pairs


def _moments(arrays: dict[str, NDArray[np.generic]], stem: str, source: str) -> Moments | None:
    """The moments under a stem, packed as captures store them or in full; None when there are none."""
    prefix = f"{stem}." if stem else ""
    own = {k: arrays[f"{prefix}{k}"] for k in (*PACKED, "second") if f"{prefix}{k}" in arrays}
    try:
        if "root" in own:
            return Moments.unpacked(own)
        if not {"count", "mean", "second"} <= set(own):
            return None
        count = int(np.ravel(own["count"])[0])
        return Moments(count, np.asarray(own["mean"], np.float64), np.asarray(own["second"], np.float64))
    except InvalidInput as error:
        raise InvalidInput(
            f"matrices {source}, moments of {stem or 'x'}", expected=error.expected, got=str(error.got)
        ) from error


def _read_npy(path: Path) -> NDArray[np.generic]:
    try:
        out: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(
            f"matrices {path}",
            expected="an .npy file with one plain array",
            got="something else or a damaged file",
        ) from error
    return out


def _read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except Exception as error:  # zipfile, numpy and zlib each raise their own
        raise InvalidInput(f"matrices {path}", expected="a readable .npz file", got=str(error)) from error


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """All tensors, and what the metadata of a capture say: layer -> the layer that holds its moments."""
    try:
        with safe_open(path, framework="pt") as stored:
            arrays = {key: stored.get_tensor(key).double().numpy() for key in stored.keys()}  # noqa: SIM118
            return arrays, dict(json.loads((stored.metadata() or {}).get("moments", "{}")))
    except (SafetensorError, OSError, TypeError, RuntimeError, ValueError) as error:
        raise InvalidInput(
            f"matrices {path}", expected="a readable safetensors file", got=str(error)
        ) from error
