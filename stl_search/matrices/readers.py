"""The matrices that algorithms are scored on: random ensembles, captured layers, files.

A `MatrixPair` is one product X @ W, with further rows of the same source for methods that calibrate.
What does not belong here: making captures of a model (`capture`), computing errors (`scores`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open

from stl_algebra.algorithms.bilinear import Array, TileFormat
from stl_algebra.algorithms.fit import Colour
from stl_algebra.errors import InvalidInput

#: Captures that ship with the package, by name.
BUNDLED = {"minilm": "data/minilm.safetensors"}


@dataclass(frozen=True, eq=False)
class MatrixPair:
    """One product X @ W and where it comes from.

    Attributes:
        name: for tables.
        x: (N, K), the rows that errors are measured on.
        w: (K, M).
        calibration: (N', K) other rows of the same source, for baselines and layers that may look at data;
            x itself is never shown to them.
        source: one line about the origin.
    """

    name: str
    x: Array
    w: Array
    calibration: Array
    source: str = ""


def make_pair(
    name: str, x: ArrayLike, w: ArrayLike, calibration: ArrayLike | None = None, source: str = ""
) -> MatrixPair:
    """Check and build a pair; without calibration rows the second half of x becomes them.

    Raises:
        InvalidInput: not matrices, empty, NaN or an infinity, all zero, or inner sizes that differ.
    """
    checked = {"X": _checked(f"{name}: X", x), "W": _checked(f"{name}: W", w)}
    if checked["X"].shape[1] != checked["W"].shape[0]:
        raise InvalidInput(
            f"matrices {name}",
            expected="X (N, K) and W (K, M) with equal inner sizes K",
            got=f"X {checked['X'].shape} and W {checked['W'].shape}",
            hint="transpose W: nn.Linear stores (M, K)"
            if checked["X"].shape[1] == checked["W"].shape[1]
            else "",
        )
    rows = checked["X"]
    if calibration is None:
        half = (len(rows) + 1) // 2
        rows, held = (rows[:half], rows[half:]) if len(rows) > 1 else (rows, rows)
    else:
        held = _checked(f"{name}: calibration", calibration)
        if held.shape[1] != rows.shape[1]:
            raise InvalidInput(
                f"matrices {name}, calibration", expected=f"rows of {rows.shape[1]} entries", got=held.shape
            )
    return MatrixPair(name, rows, checked["W"], held, source)


def _checked(label: str, values: ArrayLike) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise InvalidInput(f"matrices {label}", expected="real numbers", got=f"dtype {array.dtype}")
    if array.ndim != 2:
        raise InvalidInput(f"matrices {label}", expected="a matrix (2 axes)", got=f"shape {array.shape}")
    if array.size == 0:
        raise InvalidInput(f"matrices {label}", expected="at least one entry", got=f"shape {array.shape}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(array).all():
        raise InvalidInput(f"matrices {label}", expected="finite entries", got="NaN or an infinity")
    if not array.any():
        raise InvalidInput(f"matrices {label}", expected="a matrix that is not zero", got="zeros only")
    return array


Ensemble = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def _low_rank(rng: np.random.Generator, rows: int, columns: int) -> Array:
    rank = max(1, min(rows, columns) // 16)
    signal = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns)) / np.sqrt(rank)
    out: Array = signal + 0.1 * rng.normal(size=(rows, columns))
    return out


def _ill_conditioned(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Singular values that fall geometrically over six decades, in random directions."""
    least = min(rows, columns)
    left = np.linalg.qr(rng.normal(size=(rows, least)))[0]
    right = np.linalg.qr(rng.normal(size=(columns, least)))[0]
    out: Array = (left * np.geomspace(1, 1e-6, least)) @ right.T * np.sqrt(rows * columns / least)
    return out


#: Random ensembles: both X and W are drawn from them.
ENSEMBLES: dict[str, tuple[str, Ensemble]] = {
    "gaussian": ("independent standard normal entries", lambda g, r, c: g.normal(size=(r, c))),
    "rademacher": ("independent signs", lambda g, r, c: g.choice([-1.0, 1.0], size=(r, c))),
    "uniform": ("uniform on [0, 1], mean 1/2", lambda g, r, c: g.uniform(size=(r, c))),
    "heavy-tailed": ("Student t with 3 degrees of freedom", lambda g, r, c: g.standard_t(3, size=(r, c))),
    "low-rank": ("rank min/16 plus noise of a tenth", _low_rank),
    "ill-conditioned": ("condition number 1e6", _ill_conditioned),
}


#: What `--matrices` takes, for help texts.
MATRICES_HELP = (
    f"Ensembles: {', '.join(ENSEMBLES)}; all of them: random; bundled layers: {', '.join(BUNDLED)}; "
    "files: .npz or .safetensors with arrays x (N, K) and w (K, M), or NAME.x and NAME.w; X.npy,W.npy; "
    "W.npy (Gaussian X)."
)


def random_pair(ensemble: str, size: int = 512, seed: int = 0) -> MatrixPair:
    """A square pair of a random ensemble, with as many calibration rows.

    Raises:
        InvalidInput: unknown ensemble.
    """
    if ensemble not in ENSEMBLES:
        raise InvalidInput("ensemble", expected=f"one of {', '.join(ENSEMBLES)}", got=repr(ensemble))
    summary, draw = ENSEMBLES[ensemble]
    rng = np.random.default_rng([seed, size, list(ENSEMBLES).index(ensemble)])
    rows = draw(rng, 2 * size, size)
    return make_pair(
        ensemble, rows[:size], draw(rng, size, size), rows[size:], f"{summary}, size {size}, seed {seed}"
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


def padded(pair_x: Array, pair_w: Array, tile: TileFormat) -> tuple[Array, Array]:
    """X and W with zeros appended so that the tile divides all sizes."""
    n, k, m = -len(pair_x) % tile.n, -len(pair_w) % tile.k, -pair_w.shape[1] % tile.m
    return np.pad(pair_x, ((0, n), (0, k))), np.pad(pair_w, ((0, k), (0, m)))


def tile_colour(pair: MatrixPair, tile: TileFormat) -> Colour:
    """The second moments of the tiles of a pair: of its calibration rows and of its W."""
    x, w = padded(pair.calibration, pair.w, tile)
    rows, inner, columns = len(x) // tile.n, len(w) // tile.k, w.shape[1] // tile.m
    x_tiles = x.reshape(rows, tile.n, inner, tile.k).transpose(0, 2, 1, 3).reshape(-1, tile.x_size)
    w_tiles = w.reshape(inner, tile.k, columns, tile.m).transpose(0, 2, 1, 3).reshape(-1, tile.w_size)
    return Colour.from_second_moments(x_tiles.T @ x_tiles / len(x_tiles), w_tiles.T @ w_tiles / len(w_tiles))
