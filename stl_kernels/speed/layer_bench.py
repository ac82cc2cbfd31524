"""Measuring: layers beside the dense product in one run, interleaved, with the prediction beside them.

`bench_layer` is what a command line calls; the project's own table is `benchmarks/cpu_layers.py`.
What does not belong here: peaks (`speed.peak_measurement`), the prediction (`speed.prediction`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.profile import profile_of
from stl_algebra.errors import StlError
from stl_kernels.device.peaks import Peaks
from stl_kernels.layers.linear import STLLinear
from stl_kernels.speed.peak_measurement import measure_peaks
from stl_kernels.speed.prediction import predict
from stl_kernels.speed.timing import interleaved

Shape = tuple[int, int, int]
#: From a dense layer and its input (N, K) to what is timed.
Peer = Callable[[torch.nn.Linear, Tensor], Callable[[], Any]]
#: Seconds of a shape, of all runs together, at most.
_BUDGET = 15.0


@torch.no_grad()
def bench_shape(
    shape: Shape,
    encoders: Sequence[BilinearAlgorithm],
    tilings: Sequence[str],
    peaks: Peaks,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    rounds: int = 15,
    peers: Mapping[str, Peer] | None = None,
) -> list[dict[str, Any]]:
    """Dense and every (encoders, tiling) on X (N, K) times W (K, M), all alternating in one run.

    Each entry holds medians, spread, the prediction from `peaks`, and `error`, the relative error of the
    layer to its own float64 reference on a few rows, computed first (`error_to_float64`). `peers` run beside
    them, each made of the dense layer and x; their spreads are under "peers".
    """
    place = torch.device(device)
    rows, inner, columns = shape
    dense = torch.nn.Linear(inner, columns, bias=False, device=place, dtype=dtype)
    x = torch.randn(rows, inner, device=place).to(dtype)
    runs: dict[str, Callable[[], Any]] = {"dense": partial(dense, x)}
    entries = []
    for algorithm in encoders:
        for tiling in tilings:
            # Encoders for sorted features run with a permutation, whatever it is.
            order = None if profile_of(algorithm) is None else range(inner)
            layer = STLLinear.from_linear(
                dense, algorithm, tiling=tiling, row_grouping="rows", permutation=order
            )
            error = error_to_float64(layer, x, 4 * algorithm.tile.n)
            runs[f"{algorithm.rank} {tiling}"] = partial(layer, x)
            entries.append((algorithm, tiling, error))
    peers = peers or {}
    runs.update({f"peer {name}": make(dense, x) for name, make in peers.items()})
    times = interleaved(runs, place, rounds, _BUDGET)
    results = []
    for algorithm, tiling, error in entries:
        stl = times[f"{algorithm.rank} {tiling}"]
        forecast = predict(shape, algorithm, str(dtype).removeprefix("torch."), peaks, tiling=tiling)
        speedup = times["dense"]["median_s"] / stl["median_s"]
        results.append(
            {
                "shape": list(shape),
                "rank": algorithm.rank,
                "tile": str(algorithm.tile),
                "dtype": str(dtype),
                "tiling": tiling,
                "error": error,
                "dense": times["dense"],
                "stl": stl,
                **({"peers": {name: times[f"peer {name}"] for name in peers}} if peers else {}),
                "speedup": speedup,
                "predicted_stl_s": forecast.total,
                "predicted_dense_s": forecast.dense,
                "predicted_speedup": forecast.speedup,
                "predicted_over_measured_speedup": forecast.speedup / speedup,
                "predicted_over_measured_stl_s": forecast.total / stl["median_s"],
                "verdict": forecast.verdict,
            }
        )
    return results


@torch.no_grad()
def error_to_float64(layer: STLLinear, x: Tensor, rows: int) -> float:
    """|y - y'|_F / |y'|_F over the first and the last rows of y = layer(x), y' the same layer in float64.

    Args:
        layer: groups "rows".
        x: (N, K).
        rows: how many at each end; a multiple of the tile's side n.

    Raises:
        StlError: some entry of y is NaN or infinite.
    """
    exact = copy.deepcopy(layer).double()
    exact.options = replace(exact.options, backend="reference", fused=None)
    y = layer(x)
    if not bool(torch.isfinite(y).all()):
        raise StlError(f"{layer} gives NaN or an infinity for x of shape {tuple(x.shape)}")
    # A tile must be compared whole: the last rows start where a tile does.
    last = max(x.shape[0] - rows, 0) // layer.tile.n * layer.tile.n
    expected = torch.cat([exact(part.double()) for part in (x[:rows], x[last:])])
    found = torch.cat([y[:rows], y[last:]]).double()
    return float((found - expected).norm() / expected.norm())


def bench_layer(
    shape: Shape,
    encoders: BilinearAlgorithm,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tiling: str = "strided",
    rounds: int = 9,
    peaks: Peaks | None = None,
) -> dict[str, Any]:
    """`bench_shape` of one algorithm and tiling; the peaks are measured first when none are given."""
    peaks = peaks or measure_peaks(dtype, device)
    return bench_shape(shape, [encoders], [tiling], peaks, dtype=dtype, device=device, rounds=rounds)[0]


def random_encoders(rank: int, seed: int = 0) -> BilinearAlgorithm:
    """Random <4,4,4> factors: times do not depend on the entries."""
    rng = np.random.default_rng(seed)
    x, w, y = (rng.normal(size=s) for s in ((rank, 16), (rank, 16), (16, rank)))
    return BilinearAlgorithm("4", x, w, y)
