"""Reading matrices to score on: ensembles by name, captures that ship with the package, files.

What does not belong here: making captures of a model (`stl_models.activations`), errors (`judging`).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from stl_algebra.errors import InvalidInput
from stl_search.matrices.ensembles import ENSEMBLES, random_pair
from stl_search.matrices.pair import MatrixPair, _checked, make_pair

#: Captures that ship with the package, by name.
BUNDLED = {"minilm": "data/minilm.safetensors"}


#: What `--matrices` takes, for help texts.
MATRICES_HELP = (
    f"Ensembles: {', '.join(ENSEMBLES)}; all of them: random; bundled layers: {', '.join(BUNDLED)}; "
    "files: .npz or .safetensors with arrays x (N, K) and w (K, M), or NAME.x and NAME.w; X.npy,W.npy; "
    "W.npy (Gaussian X)."
)


def load_matrices(spec: str, size: int = 512, seed: int = 0) -> list[MatrixPair]:
    """Pairs from one `--matrices` value.

    Args:
        spec: a random ensemble, "random" for all of them, a bundled capture ("minilm"), or a file:
            .npz or .safetensors with arrays x and w (or NAME.x and NAME.w, optionally NAME.calibration),
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
        return _from_arrays(spec, _read_safetensors(Path(str(with_data))), spec)
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
        rows = np.random.default_rng(seed).normal(size=(1024, w.shape[0]))
        return [make_pair(path.stem, rows[:512], w, rows[512:], f"{path.name} with Gaussian X")]
    arrays = _read_safetensors(path) if path.suffix == ".safetensors" else _read_npz(path)
    return _from_arrays(path.stem, arrays, str(path))


def _from_arrays(name: str, arrays: dict[str, NDArray[np.generic]], source: str) -> list[MatrixPair]:
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
        pairs.append(
            make_pair(
                f"{name}:{stem}" if stem else name,
                arrays[f"{prefix}x"],
                arrays[f"{prefix}w"],
                arrays.get(f"{prefix}calibration"),
                source,
            )
        )
    if not pairs:
        raise InvalidInput(
            f"matrices {source}",
            expected="arrays x and w, or NAME.x and NAME.w",
            got=f"arrays {', '.join(sorted(arrays)[:6]) or 'none'}",
        )
    return pairs


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


def _read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with safe_open(path, framework="pt") as stored:
            return {key: stored.get_tensor(key).double().numpy() for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, RuntimeError) as error:
        raise InvalidInput(
            f"matrices {path}", expected="a readable safetensors file", got=str(error)
        ) from error
