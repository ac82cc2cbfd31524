"""Measuring: layers beside the dense product in one run, interleaved, with the prediction beside them.

`python -m stl_kernels.speed.layer_bench` measures the CPU's peaks and the CPU shapes, writes JSON and a figure under
results/cpu/ and prints one table last; `bench_layer` is what a command line calls.
What does not belong here: peaks (`speed.peak_measurement`), the prediction (`speed.prediction`).
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import StlError
from stl_algebra.files import write_atomically
from stl_kernels.device.peaks import Peaks
from stl_kernels.layers.linear import STLLinear
from stl_kernels.speed.peak_measurement import measure_peaks
from stl_kernels.speed.prediction import predict
from stl_kernels.speed.timing import environment, interleaved

Shape = tuple[int, int, int]
# (N, K, M), ranks, tilings. The last five: linear layers of Llama-3.2-1B, Qwen2.5-7B and ViT-B.
CASES: tuple[tuple[str, Shape, tuple[int, ...], tuple[str, ...]], ...] = (
    ("square", (1024, 1024, 1024), (16, 24, 32, 48), ("strided", "consecutive")),
    ("square", (2048, 2048, 2048), (16, 24, 32, 48), ("strided", "consecutive")),
    ("square", (4096, 4096, 4096), (24,), ("strided", "consecutive")),
    ("Llama-3.2-1B mlp up", (64, 2048, 8192), (24,), ("strided",)),
    ("Llama-3.2-1B mlp up", (1024, 2048, 8192), (24,), ("strided",)),
    ("Qwen2.5-7B query", (1024, 3584, 3584), (24,), ("strided",)),
    ("ViT-B mlp", (64, 768, 3072), (24,), ("strided",)),
    ("ViT-B mlp", (4096, 768, 3072), (16, 24), ("strided",)),
    ("one token", (1, 2048, 2048), (24,), ("strided",)),
)


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
    budget: float = 15.0,
) -> list[dict[str, Any]]:
    """Dense and every (encoders, tiling) on X (N, K) times W (K, M), all alternating in one run.

    Each entry holds medians, spread, the prediction from `peaks`, and `error`, the relative error of the
    layer to its own float64 reference on a few rows, computed first (`error_to_float64`).
    """
    place = torch.device(device)
    rows, inner, columns = shape
    dense = torch.nn.Linear(inner, columns, bias=False, device=place, dtype=dtype)
    x = torch.randn(rows, inner, device=place).to(dtype)
    runs: dict[str, Callable[[], Any]] = {"dense": partial(dense, x)}
    entries = []
    for algorithm in encoders:
        for tiling in tilings:
            layer = STLLinear.from_linear(dense, algorithm, tiling=tiling, row_grouping="rows")
            error = error_to_float64(layer, x, 4 * algorithm.tile.n)
            runs[f"{algorithm.rank} {tiling}"] = partial(layer, x)
            entries.append((algorithm, tiling, error))
    times = interleaved(runs, place, rounds, budget)
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
    exact.backend, exact.fused = "reference", None
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


def draw(results: Path) -> Path:
    """The figure of a results file, beside it: measured and predicted speedup, bars for the spread."""
    from matplotlib.figure import Figure

    record = json.loads(results.read_text("utf-8"))
    entries = [e for e in record["results"] if e.get("method") != "dense"]
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(entries)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(entries))
    measured = np.array([e["speedup"] for e in entries])
    # The median dense time over the layer's slowest and fastest round.
    own = [e.get("stl", e) for e in entries]
    low = np.array([e["dense"]["median_s"] / o["max_s"] for e, o in zip(entries, own, strict=True)])
    high = np.array([e["dense"]["median_s"] / o["min_s"] for e, o in zip(entries, own, strict=True)])
    names = [e.get("method") or f"r={e['rank']}  {e['tiling']}" for e in entries]
    axes.barh(places, measured, xerr=[measured - low, high - measured], color="#7aa6c2", label="measured")
    axes.plot(
        [e.get("predicted_speedup", np.nan) for e in entries], places, "k|", markersize=9, label="predicted"
    )
    axes.axvline(1.0, color="#888888", linewidth=0.8)
    axes.set_yticks(
        places,
        [f"{'x'.join(map(str, e['shape']))}  {n}" for e, n in zip(entries, names, strict=True)],
        fontsize=7,
    )
    axes.invert_yaxis()
    axes.set_xlabel("speed relative to torch's dense layer")
    axes.set_title(f"{record['device']}, {record['date'][:10]}", fontsize=9)
    axes.legend(loc="lower right", fontsize=8)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    return write_atomically(results.with_suffix(".png"), image.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the peaks and `CASES`, write JSON and the figure, print one table."""
    parser = argparse.ArgumentParser(prog="python -m stl_kernels.speed.layer_bench", description=main.__doc__)
    parser.add_argument("--out", default="results/cpu", help="folder of the results")
    parser.add_argument(
        "--draw", metavar="JSON", help="only draw the figure of a results file, CPU's or GPU's"
    )
    options = parser.parse_args(arguments)
    if options.draw:
        print(draw(Path(options.draw)))
        return
    out = Path(options.out)
    print("measuring peaks", file=sys.stderr)
    head = environment("cpu")
    peaks = measure_peaks(torch.float32, "cpu")
    results: list[dict[str, Any]] = []
    for label, shape, ranks, tilings in CASES:
        print(f"measuring {label} {shape}", file=sys.stderr)
        entries = bench_shape(shape, [random_encoders(rank) for rank in ranks], tilings, peaks)
        results += [{"layer": label, **entry} for entry in entries]
    path = write_atomically(
        out / "layer.json", json.dumps({**head, "peaks": vars(peaks), "results": results}, indent=1) + "\n"
    )
    draw(path)
    print(f"{'N x K x M':>16s} rank tiling       dense ms   stl ms  speedup  predicted  error")
    for r in results:
        name = "x".join(map(str, r["shape"]))
        dense, stl = 1e3 * r["dense"]["median_s"], 1e3 * r["stl"]["median_s"]
        print(
            f"{name:>16s} {r['rank']:4d} {r['tiling']:11s} {dense:9.2f} {stl:8.2f} {r['speedup']:7.2f}x"
            f" {r['predicted_speedup']:8.2f}x  {r['error']:.1e}"
        )


if __name__ == "__main__":
    main()
