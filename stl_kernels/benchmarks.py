"""Measuring: the layer beside the dense product in one run, interleaved, and a device's peaks.

`python -m stl_kernels.benchmarks` prints the CPU table last and writes its JSON; `bench_layer` is what a
command line calls. What does not belong here: the prediction's formulas (`stl_kernels.roofline`).
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stl_algebra.bilinear import BilinearAlgorithm
from stl_algebra.files import write_atomically
from stl_kernels.layer import STLLinear
from stl_kernels.roofline import Peaks, predict


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def interleaved(runs: dict[str, Callable[[], Any]], device: torch.device, rounds: int) -> dict[str, Any]:
    """Median and extremes of each run's seconds, the runs alternating so that drift hits all alike."""
    for run in runs.values():
        _seconds(run, device)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(_seconds(run, device))
    return {
        name: {"median_s": statistics.median(t), "min_s": min(t), "max_s": max(t)}
        for name, t in times.items()
    }


def measure_peaks(dtype: torch.dtype = torch.float32, device: str = "cpu", rounds: int = 7) -> Peaks:
    """FLOP/s of a 2048^3 product, bytes/s of a copy of 256 MB (read plus written), seconds of an empty op."""
    place = torch.device(device)
    x, y = (torch.randn(2048, 2048, device=place).to(dtype) for _ in range(2))
    source = torch.randn(1 << 26, device=place)
    target, one = torch.empty_like(source), torch.zeros(1, device=place)
    times = interleaved(
        {"gemm": lambda: x @ y, "copy": lambda: target.copy_(source), "empty": lambda: one.add_(1)},
        *(place, rounds),
    )
    name = str(dtype).removeprefix("torch.")
    return Peaks(
        device,
        {name: 2 * 2048**3 / times["gemm"]["median_s"]},
        2 * source.nbytes / times["copy"]["median_s"],
        times["empty"]["median_s"],
        f"measured {datetime.now(UTC).date()} on {platform.processor() or platform.machine()}",
    )


@torch.no_grad()
def bench_layer(
    shape: tuple[int, int, int],
    encoders: BilinearAlgorithm,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tiling: str = "strided",
    rounds: int = 9,
    peaks: Peaks | None = None,
) -> dict[str, Any]:
    """Dense and STL products of X (N, K) and W (K, M), alternating; medians, spread, prediction beside them.

    The relative error of the layer to its own float64 reference is checked first (`error`).
    """
    place = torch.device(device)
    rows, inner, columns = shape
    dense = torch.nn.Linear(inner, columns, bias=False, device=place, dtype=dtype)
    layer = STLLinear.from_linear(dense, encoders, tiling=tiling, row_grouping="rows")
    x = torch.randn(rows, inner, device=place).to(dtype)
    few = x[: 4 * encoders.tile.n]
    exact = STLLinear.from_linear(dense, encoders, tiling=tiling, row_grouping="rows", backend="reference")
    exact.load_state_dict(layer.state_dict())
    expected = exact.double()(few.double())
    error = float((layer(few).double() - expected).norm() / expected.norm())
    times = interleaved({"dense": lambda: dense(x), "stl": lambda: layer(x)}, place, rounds)
    peaks = peaks or measure_peaks(dtype, device)
    forecast = predict(shape, encoders, str(dtype).removeprefix("torch."), peaks)
    return {
        "shape": list(shape),
        "rank": encoders.rank,
        "tile": str(encoders.tile),
        "dtype": str(dtype),
        "tiling": tiling,
        "error": error,
        **times,
        "speedup": times["dense"]["median_s"] / times["stl"]["median_s"],
        "predicted_stl_s": forecast.total,
        "predicted_dense_s": forecast.dense,
        "predicted_speedup": forecast.speedup,
    }


def environment(device: str) -> dict[str, Any]:
    """Device, date, versions and command, for a results file."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "command": " ".join(["python -m stl_kernels.benchmarks", *sys.argv[1:]]),
    }


def random_encoders(rank: int, seed: int = 0) -> BilinearAlgorithm:
    """Random <4,4,4> factors: times do not depend on the entries."""
    rng = np.random.default_rng(seed)
    x, w, y = (rng.normal(size=s) for s in ((rank, 16), (rank, 16), (16, rank)))
    return BilinearAlgorithm("4", x, w, y)


def main(
    device: str = "cpu", cases: Sequence[tuple[int, int]] = ((2048, 24), (2048, 16), (4096, 24))
) -> None:
    """Run the square `cases` (size, rank) in both tilings, write JSON under results/, print one table."""
    peaks = measure_peaks(torch.float32, device)
    results = [
        bench_layer((size,) * 3, random_encoders(rank), device=device, tiling=tiling, peaks=peaks)
        for size, rank in cases
        for tiling in ("strided", "consecutive")
    ]
    path = Path("results") / device / "layer.json"
    write_atomically(path, json.dumps({**environment(device), "results": results}, indent=1))
    print("size rank tiling       dense ms   stl ms  speedup  predicted  error")
    for r in results:
        size, dense, stl = r["shape"][0], 1e3 * r["dense"]["median_s"], 1e3 * r["stl"]["median_s"]
        print(
            f"{size:4d} {r['rank']:4d} {r['tiling']:11s} {dense:9.1f} {stl:8.1f} {r['speedup']:7.2f}x"
            f" {r['predicted_speedup']:8.2f}x  {r['error']:.1e}"
        )


if __name__ == "__main__":
    main()
