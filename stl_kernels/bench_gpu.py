"""The GPU script: `python -m stl_kernels.bench_gpu`; correctness first, JSON to results/gpu/, one table last.

Needs torch, triton, numpy and safetensors. Dense, 2:4 semi-structured where the GPU has it, and STL at ranks
16, 24, 32 and 48, interleaved, in bfloat16. `python -m stl_kernels.benchmarks --draw results/gpu/layer.json`
makes the figure where matplotlib is installed. What does not belong here: CPU measurements (`benchmarks`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stl_algebra.errors import StlError, Unavailable
from stl_algebra.files import write_atomically
from stl_kernels.benchmarks import random_encoders
from stl_kernels.layer import STLLinear
from stl_kernels.peak_measurement import measure_peaks
from stl_kernels.peaks import Peaks
from stl_kernels.roofline import predict
from stl_kernels.timing import environment, interleaved

RANKS = (16, 24, 32, 48)
SQUARES = (1024, 2048, 4096, 8192, 16384)
# (K, M) of linear layers: Llama-3.2-1B, Qwen2.5-7B and ViT-B.
LAYERS = (
    *((2048, 2048), (2048, 512), (2048, 8192), (8192, 2048)),
    *((3584, 3584), (3584, 512), (3584, 18944), (18944, 3584)),
    *((768, 768), (768, 3072), (3072, 768)),
)
ROWS = (64, 1024, 16384)
_LARGEST_ERROR = 2e-2


def _two_four(weight: torch.Tensor) -> torch.Tensor:
    """Zero the two smallest of every four neighbours: the pattern that the hardware takes."""
    groups = weight.reshape(-1, 4)
    keep = groups.abs().topk(2, dim=1).indices
    return torch.zeros_like(groups).scatter_(1, keep, groups.gather(1, keep)).view_as(weight)


@torch.no_grad()
def measure(shape: tuple[int, int, int], peaks: Peaks, rounds: int = 15) -> list[dict[str, Any]]:
    """Medians of every method on one shape, in one interleaved run.

    Raises:
        StlError: a layer's error against float64 is not that of bfloat16 rounding.
    """
    device = torch.device("cuda")
    rows, inner, columns = shape
    x = torch.randn(rows, inner, device=device, dtype=torch.bfloat16)
    dense = torch.nn.Linear(inner, columns, bias=False, device=device, dtype=torch.bfloat16)
    runs: dict[str, Callable[[], Any]] = {"dense": lambda: dense(x)}
    errors: dict[str, float] = {}
    for rank in RANKS:
        layer = STLLinear.from_linear(dense, random_encoders(rank), row_grouping="rows", tiling="strided")
        reference = STLLinear(
            inner,
            columns,
            random_encoders(rank),
            False,
            row_grouping="rows",
            tiling="strided",
            backend="reference",
            device=device,
        )
        reference.load_state_dict(layer.state_dict())
        # Only a few rows are compared: the reference's operands are wide.
        few = x[:64]
        expected = reference.double()(few.double())
        out = layer(x)[: few.shape[0]].double()
        errors[f"stl{rank}"] = float((out - expected).norm() / expected.norm())
        if not errors[f"stl{rank}"] < _LARGEST_ERROR:
            raise StlError(f"rank {rank} at {shape}: relative error {errors[f'stl{rank}']:.2e} to float64")
        del reference, expected, out
        runs[f"stl{rank}"] = partial(layer, x)
    try:
        sparse = torch.sparse.to_sparse_semi_structured(_two_four(dense.weight.detach()))
        torch.nn.functional.linear(x, sparse)
        runs["2:4"] = lambda: torch.nn.functional.linear(x, sparse)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        print(f"2:4 not measured at {shape}: {error}", file=sys.stderr)
    times = interleaved(runs, device, rounds)
    rows_out = []
    for name, spread in times.items():
        entry = {"shape": list(shape), "method": name, "error": errors.get(name), **spread}
        entry["dense"] = times["dense"]
        entry["speedup"] = times["dense"]["median_s"] / spread["median_s"]
        if name.startswith("stl"):
            forecast = predict(shape, random_encoders(int(name[3:])), "bfloat16", peaks, tiling="strided")
            # The roofline knows the rate of large dense products and of a copy, not the measured steps.
            bound = predict(shape, random_encoders(int(name[3:])), "bfloat16", replace(peaks, curves={}))
            entry |= {
                "predicted_s": forecast.total,
                "predicted_speedup": forecast.speedup,
                "predicted_over_measured_speedup": forecast.speedup / entry["speedup"],
                "roofline_s": bound.total,
            }
        rows_out.append(entry)
    return rows_out


def main() -> None:
    """Measure all shapes; partial results are written after each one.

    Raises:
        Unavailable: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise Unavailable("bench_gpu needs a CUDA device; none is visible, so nothing was measured")
    shapes = [(s, s, s) for s in SQUARES] + [(rows, *layer) for layer in LAYERS for rows in ROWS]
    peaks = measure_peaks(torch.bfloat16, "cuda")
    results: list[dict[str, Any]] = []
    head = {**environment("cuda"), "command": "python -m stl_kernels.bench_gpu", "peaks": vars(peaks)}
    for shape in shapes:
        results += measure(shape, peaks)
        write_atomically(Path("results/gpu/layer.json"), json.dumps({**head, "results": results}, indent=1))
    print(f"{'shape':>20s} {'method':>6s} {'median ms':>10s} {'speedup':>8s} {'of roofline':>11s}")
    for r in results:
        part = f"{r['roofline_s'] / r['median_s']:10.0%}" if "roofline_s" in r else ""
        text, milliseconds = "x".join(map(str, r["shape"])), 1e3 * r["median_s"]
        print(f"{text:>20s} {r['method']:>6s} {milliseconds:10.3f} {r['speedup']:7.2f}x {part:>11s}")


if __name__ == "__main__":
    try:
        main()
    except StlError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
