"""Layers beside dense products on the CPU: `python -m benchmarks.cpu_layers` measures, stores and draws.

Measures the CPU's peaks and the shapes below, writes JSON and a figure under results/cpu/ and prints one
table last; `--draw` only draws the figure of a results file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.files import write_atomically
from stl_algebra.published import encoders
from stl_kernels.speed.layer_bench import Shape, bench_shape, random_encoders
from stl_kernels.speed.peak_measurement import measure_peaks
from stl_kernels.speed.timing import environment
from stl_search.pictures.files import save_figure

# (N, K, M), ranks (48 and 49 are exact, the others have random factors), tilings. All but "square", "tall"
# and "one token" are layers of Llama-3.2-1B, Qwen2.5-7B and ViT-B.
CASES: tuple[tuple[str, Shape, tuple[int, ...], tuple[str, ...]], ...] = (
    ("square", (1024, 1024, 1024), (16, 24, 32, 48), ("strided", "consecutive")),
    ("square", (2048, 2048, 2048), (16, 24, 32, 48, 49), ("strided", "consecutive")),
    ("square", (4096, 4096, 4096), (16, 24, 49), ("strided", "consecutive")),
    ("tall", (8192, 2048, 512), (24, 49), ("strided",)),
    ("Llama-3.2-1B mlp up", (64, 2048, 8192), (24,), ("strided",)),
    ("Llama-3.2-1B mlp up", (1024, 2048, 8192), (24,), ("strided",)),
    ("Qwen2.5-7B query", (1024, 3584, 3584), (24,), ("strided",)),
    ("ViT-B mlp", (64, 768, 3072), (24,), ("strided",)),
    ("ViT-B mlp", (4096, 768, 3072), (16, 24), ("strided",)),
    ("one token", (1, 2048, 2048), (24,), ("strided",)),
)


def _encoders(rank: int) -> BilinearAlgorithm:
    return encoders("4x4x4", rank) if rank in (48, 49) else random_encoders(rank)


def _packed_dense(dense: torch.nn.Linear, x: torch.Tensor) -> Callable[[], Any]:
    """The dense product with weights in oneDNN's order, as torch runs it in compiled and frozen models."""
    blocks = torch.ops.mkldnn._reorder_linear_weight(dense.weight.detach(), x.shape[0])
    return lambda: torch.ops.mkldnn._linear_pointwise(x, blocks, None, "none", [], "")


#: Torch's layer multiplies with weights as they lie; this is what packing alone would give it.
PEERS = {"dense, packed": _packed_dense}


def draw(results: Path) -> Path:
    """The figure of a results file, beside it: measured and predicted speedup, bars for the spread."""
    from matplotlib.figure import Figure

    record = json.loads(results.read_text("utf-8"))
    entries = record["results"]
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(entries)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(entries))
    measured = np.array([e["speedup"] for e in entries])
    # The median dense time over the layer's slowest and fastest round.
    own = [e["stl"] for e in entries]
    low = np.array([e["dense"]["median_s"] / o["max_s"] for e, o in zip(entries, own, strict=True)])
    high = np.array([e["dense"]["median_s"] / o["min_s"] for e, o in zip(entries, own, strict=True)])
    names = [f"r={e['rank']}  {e['tiling']}" for e in entries]
    axes.barh(places, measured, xerr=[measured - low, high - measured], color="#7aa6c2", label="measured")
    axes.plot([e["predicted_speedup"] for e in entries], places, "k|", markersize=9, label="predicted")
    packed = [e["dense"]["median_s"] / e["peers"]["dense, packed"]["median_s"] for e in entries]
    axes.plot(packed, places, "x", color="#555555", markersize=5, label="dense, packed for oneDNN")
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
    return save_figure(figure, results.with_suffix(".png"), dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the peaks and `CASES`, write JSON and the figure, print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu_layers", description=main.__doc__)
    parser.add_argument("--out", default="results/cpu", help="folder of the results")
    parser.add_argument("--draw", metavar="JSON", help="only draw the figure of a results file")
    options = parser.parse_args(arguments)
    if options.draw:
        print(draw(Path(options.draw)))
        return
    out = Path(options.out)
    print("measuring peaks", file=sys.stderr)
    head = environment("cpu", " ".join(["python -m benchmarks.cpu_layers", *sys.argv[1:]]))
    peaks = measure_peaks(torch.float32, "cpu")
    results: list[dict[str, Any]] = []
    for label, shape, ranks, tilings in CASES:
        print(f"measuring {label} {shape}", file=sys.stderr)
        entries = bench_shape(shape, [_encoders(rank) for rank in ranks], tilings, peaks, peers=PEERS)
        results += [{"layer": label, **entry} for entry in entries]
    path = write_atomically(
        out / "layer.json", json.dumps({**head, "peaks": vars(peaks), "results": results}, indent=1) + "\n"
    )
    draw(path)
    print(f"{'N x K x M':>16s} rank tiling       dense ms   stl ms  speedup  predicted  over packed  error")
    for r in results:
        name = "x".join(map(str, r["shape"]))
        dense, stl = 1e3 * r["dense"]["median_s"], 1e3 * r["stl"]["median_s"]
        packed = 1e3 * r["peers"]["dense, packed"]["median_s"] / stl
        print(
            f"{name:>16s} {r['rank']:4d} {r['tiling']:11s} {dense:9.2f} {stl:8.2f} {r['speedup']:7.2f}x"
            f" {r['predicted_speedup']:8.2f}x {packed:11.2f}x  {r['error']:.1e}"
        )


if __name__ == "__main__":
    main()
