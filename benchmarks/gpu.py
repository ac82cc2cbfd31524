"""The GPU script: `python -m benchmarks.gpu`; correctness first, JSON to results/gpu/, one table last.

Needs torch, triton, numpy and safetensors. Dense, 2:4 semi-structured where the GPU has it, and STL at ranks
16, 24, 32 and 48 with core and decode in two kernels and in one, interleaved, in bfloat16: called from
Python, and replayed from CUDA graphs, which leave the host's time out. The faster one of the two is
remembered for later layers of the same shape (`STLLinear.tune`). Another card's figures get a file of their
own by `--out`. `python -m benchmarks.gpu --draw results/gpu/layer.json` makes the figure where matplotlib is
installed.

What does not belong here: CPU measurements (`cpu_layers`).
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stl_algebra.errors import StlError, Unavailable
from stl_algebra.files import write_atomically
from stl_kernels.device.peaks import Peaks, gpu_of_model
from stl_kernels.layers.linear import STLLinear
from stl_kernels.speed.layer_bench import Shape, error_to_float64, random_encoders
from stl_kernels.speed.peak_measurement import measure_peaks
from stl_kernels.speed.prediction import predict
from stl_kernels.speed.timing import environment, interleaved, replayed

RANKS = (16, 24, 32, 48)
SQUARES = (1024, 2048, 4096, 8192, 16384)
# (K, M) of linear layers: Llama-3.2-1B, Qwen2.5-7B and ViT-B.
LAYERS = (
    *((2048, 2048), (2048, 512), (2048, 8192), (8192, 2048)),
    *((3584, 3584), (3584, 512), (3584, 18944), (18944, 3584)),
    *((768, 768), (768, 3072), (3072, 768)),
)
ROWS = (64, 1024, 16384)
# Few inner tiles, where the roofline says that core and decode in one kernel pay.
FLAT = ((16384, 64, 4096), (16384, 128, 4096), (16384, 256, 4096))
# They did not on an H100, at any shape here (results/gpu/one-kernel.json): larger ones are measured with two.
_LARGEST_ONE_KERNEL = 4096
_LARGEST_ERROR = 2e-2
_TILING = "strided"


def two_four(weight: torch.Tensor) -> torch.Tensor:
    """`weight` without the two smallest of every four neighbours: the pattern that the hardware takes."""
    groups = weight.reshape(-1, 4)
    keep = groups.abs().topk(2, dim=1).indices
    return torch.zeros_like(groups).scatter_(1, keep, groups.gather(1, keep)).view_as(weight)


@torch.no_grad()
def measure(
    shape: Shape,
    peaks: Peaks,
    sheet: Peaks | None,
    *,
    device: str = "cuda",
    dtype: torch.dtype = torch.bfloat16,
    ranks: Sequence[int] = RANKS,
    rounds: int = 15,
    one_kernel: bool = True,
) -> list[dict[str, Any]]:
    """Medians of every method on one shape, all of them in one interleaved run; one entry per method.

    Args:
        shape: (N, K, M).
        peaks: measured here; the predictions stand beside the measurements.
        sheet: the data sheet of this GPU, whose roofline rule for the fused decode is recorded; None without.
        device: "cuda", or "cpu" under Triton's interpreter, whose times mean nothing.
        dtype: what to compute in.
        ranks: of the <4,4,4> encoders.
        rounds: repetitions of each method.
        one_kernel: measure core and decode in one kernel, too.

    Raises:
        StlError: a layer's error against float64 is not that of rounding in bfloat16.
    """
    place = torch.device(device)
    rows, inner, columns = shape
    x = torch.randn(rows, inner, device=place).to(dtype)
    dense = torch.nn.Linear(inner, columns, bias=False, device=place, dtype=dtype)
    runs: dict[str, Callable[[], Any]] = {"dense": partial(dense, x)}
    details: dict[str, dict[str, Any]] = {}
    for rank in ranks:
        encoders = random_encoders(rank)
        layer = STLLinear.from_linear(
            dense, encoders, row_grouping="rows", tiling=_TILING, fused=False, backend="triton"
        )
        name = str(dtype).removeprefix("torch.")
        forecast = predict(shape, encoders, name, peaks, tiling=_TILING)
        # Rates of large dense products and of a copy instead of the measured steps'.
        bound = predict(shape, encoders, name, replace(peaks, curves={}))
        rule = predict(shape, encoders, name, sheet).fusion_pays if sheet else None
        common = {"rank": rank, "rule_fuses": rule, "roofline_s": bound.total}
        for fused in (False, True) if one_kernel else (False,):
            # The same parameters: only the choice of kernels differs.
            variant = copy.copy(layer)
            variant.options = replace(layer.options, fused=fused)
            error = error_to_float64(variant, x, 64)
            if not error < _LARGEST_ERROR:
                raise StlError(f"rank {rank} at {shape}, {fused=}: relative error {error:.2e} to float64")
            method = f"stl{rank} fused" if fused else f"stl{rank}"
            runs[method] = partial(variant, x)
            details[method] = {**common, "fused": fused, "error": error}
        details[f"stl{rank}"] |= {"predicted_s": forecast.total, "predicted_speedup": forecast.speedup}
        if place.type == "cuda" and one_kernel:
            details[f"stl{rank}"]["fused_is_faster"] = layer.tune(x)
    try:
        sparse = torch.sparse.to_sparse_semi_structured(two_four(dense.weight.detach()))
        run = partial(torch.nn.functional.linear, x, sparse)
        run()
        runs["2:4"] = run
    except (RuntimeError, NotImplementedError, ValueError) as error:
        print(f"2:4 not measured at {shape}: {error}", file=sys.stderr)
    times = interleaved(runs, place, rounds)
    replays = _replayed(runs, place, rounds, shape) if place.type == "cuda" else {}
    entries = []
    for method, spread in times.items():
        entry = {"shape": list(shape), "method": method, **details.get(method, {}), **spread}
        entry["dense"] = times["dense"]
        entry["speedup"] = times["dense"]["median_s"] / spread["median_s"]
        if "predicted_speedup" in entry:
            entry["predicted_over_measured_speedup"] = entry["predicted_speedup"] / entry["speedup"]
        if method in replays and "dense" in replays:
            entry["graph"] = replays[method]
            entry["graph_speedup"] = replays["dense"]["median_s"] / replays[method]["median_s"]
            if "predicted_speedup" in entry:
                entry["predicted_over_graph_speedup"] = entry["predicted_speedup"] / entry["graph_speedup"]
        entries.append(entry)
    return entries


def _replayed(
    runs: dict[str, Callable[[], Any]], place: torch.device, rounds: int, shape: Shape
) -> dict[str, dict[str, Any]]:
    """The same runs from CUDA graphs; those that a graph cannot hold are named on stderr and left out."""
    spreads, refused = replayed(runs, place, rounds)
    for method, reason in refused.items():
        print(f"{method} not replayed from a graph at {shape}: {reason}", file=sys.stderr)
    return spreads


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line per shape and method; "of roofline" is the roofline's time over the measured one."""
    lines = [
        f"{'N x K x M':>20s} {'method':>11s} {'ms':>9s} {'speedup':>8s} {'graph ms':>9s} {'speedup':>8s}"
        f" {'of roofline':>11s} {'rule':>6s}"
    ]
    for r in results:
        graph = r.get("graph")
        best = (graph or r)["median_s"]
        lines.append(
            f"{'x'.join(map(str, r['shape'])):>20s} {r['method']:>11s} {1e3 * r['median_s']:9.3f}"
            f" {r['speedup']:7.2f}x"
            + (f" {1e3 * graph['median_s']:9.3f} {r['graph_speedup']:7.2f}x" if graph else " " * 19)
            + (f" {r['roofline_s'] / best:11.0%}" if "roofline_s" in r else " " * 12)
            + ("" if r.get("rule_fuses") is None else f" {'fused' if r['rule_fuses'] else 'two':>6s}")
        )
    return "\n".join(lines)


def run(
    shapes: Sequence[Shape], peaks: Peaks, out: Path, device: str = "cuda", **arguments: Any
) -> list[dict[str, Any]]:
    """`measure` every shape, with these arguments; `out` is written again after each one."""
    head = environment(device, "python -m benchmarks.gpu")
    sheet = gpu_of_model(head["device"])
    head |= {
        "peaks": vars(peaks),
        "sheet": vars(sheet) if sheet else None,
    }
    results: list[dict[str, Any]] = []
    for number, shape in enumerate(shapes, 1):
        print(f"measuring {shape}, {number} of {len(shapes)}", file=sys.stderr)
        flat = shape in FLAT or max(shape) <= _LARGEST_ONE_KERNEL
        results += measure(shape, peaks, sheet, device=device, one_kernel=flat, **arguments)
        write_atomically(out, json.dumps({**head, "results": results}, indent=1) + "\n")
    return results


def draw(results: Path) -> Path:
    """The figure of a results file, beside it: speed relative to dense, of squares and of layers' shapes."""
    from matplotlib.figure import Figure

    from stl_search.pictures.files import save_figure
    from stl_search.pictures.style import PALETTE

    record = json.loads(results.read_text("utf-8"))
    speeds: dict[str, dict[Shape, float]] = {}
    for entry in record["results"]:
        if entry["method"] != "dense" and "fused" not in entry["method"]:
            speeds.setdefault(entry["method"], {})[tuple(entry["shape"])] = entry["graph_speedup"]
    squares = [(size, size, size) for size in SQUARES]
    rows = max(ROWS)
    layers = sorted(((rows, *layer) for layer in LAYERS), key=lambda shape: shape[1] * shape[2])
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, shapes, names, title in zip(
        figure.subplots(1, 2, sharey=True, width_ratios=(2, 3)),
        (squares, layers),
        ([f"{n:,}" for n, _, _ in squares], [f"{k} to {m}" for _, k, m in layers]),
        ("N = K = M", f"layers of {rows:,} rows"),
        strict=True,
    ):
        for number, (method, found) in enumerate(speeds.items()):
            label = f"rank {method.removeprefix('stl')}" if method.startswith("stl") else method
            axes.plot(
                range(len(shapes)),
                [found.get(shape, float("nan")) for shape in shapes],
                marker="osD^v"[number % 5],
                color=PALETTE[number % len(PALETTE)],
                label=label,
            )
        axes.axhline(1.0, color="#888888", linewidth=0.8)
        axes.set_yscale("log", base=2)
        axes.set_yticks([0.25, 0.5, 1, 2, 3], ["0.25", "0.5", "1", "2", "3"])
        axes.set_xticks(range(len(shapes)), names, rotation=40, ha="right", fontsize=8)
        axes.set_title(title, fontsize=9)
    figure.axes[0].set_ylabel("speed relative to dense")
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(f"{record['device']}, bfloat16, from CUDA graphs, {record['date'][:10]}", fontsize=9)
    return save_figure(figure, results.with_suffix(".png"), dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the peaks and all shapes, and print the table.

    Raises:
        Unavailable: there is no CUDA device.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Layers on a GPU.")
    parser.add_argument("--draw", metavar="JSON", help="only draw the figure of a results file")
    parser.add_argument(
        "--out",
        metavar="JSON",
        type=Path,
        default=Path("results/gpu/layer.json"),
        help="where the figures go, written again after each shape (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.draw:
        print(draw(Path(options.draw)))
        return
    if not torch.cuda.is_available():
        raise Unavailable("bench_gpu needs a CUDA device; none is visible, so nothing was measured")
    squares = [(size, size, size) for size in SQUARES]
    shapes = [*squares, *FLAT, *((rows, *layer) for layer in LAYERS for rows in ROWS)]
    print("measuring peaks", file=sys.stderr)
    peaks = measure_peaks(torch.bfloat16, "cuda")
    print(table(run(shapes, peaks, options.out)))


if __name__ == "__main__":
    try:
        main()
    except StlError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
