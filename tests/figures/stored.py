"""Reading results, and the figures that several pages show."""

import csv
import json
from functools import cache

from tests.figures.pages import ROOT


@cache
def stored(path):
    """A JSON file of `results/`."""
    return json.loads((ROOT / "results" / path).read_text(encoding="utf-8"))


def results(path):
    return stored(path)["results"]


@cache
def scores():
    with (ROOT / "results/frontier-4x4x4/scores.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def errors_on_layers(kind):
    """NMSE of the rows of a kind on the bundled layers, the least and the most."""
    found = [float(r["nmse"]) for r in scores() if r["matrices"].startswith("minilm") and kind(r)]
    return min(found), max(found)


#: All linear layers of some blocks of the second model.
BLOCKS = "smollm2-135m-blocks"


def errors_of_sorted(source, method, ranks, which="error"):
    file = "sorted-profile/blocks/layers.json" if source == BLOCKS else "sorted-profile/layers.json"
    rows = next(entry["rows"] for entry in results(file) if entry["source"] == source)
    found = {row["rank"]: row[which] for row in rows if row["method"] == method}
    return tuple(found[rank] for rank in ranks)


#: What was measured on each card.
GPUS = {"H100": "gpu/layer.json", "H200": "gpu/layer-h200.json"}


def gpu_layer(size, method, card="H100"):
    """An entry of a square product on a GPU."""
    return next(e for e in results(GPUS[card]) if e["shape"] == [size] * 3 and e["method"] == method)


def gpu_speedups(method, card="H100"):
    """From CUDA graphs over the dense product, of 16384^3 and 4096^3."""
    return tuple(gpu_layer(size, method, card)["graph_speedup"] for size in (16384, 4096))


#: Products whose times the README gives, (N, K, M).
LARGE = ([4096] * 3, [2048] * 3, [8192, 2048, 512])


def speedup(shape, rank=48, beside="torch"):
    """Of exact tiles over the dense product on a processor: torch's own, or the one with packed weights."""
    entry = next(
        e for e in results("cpu/layer.json")
        if e["shape"] == shape and e["rank"] == rank and e["tiling"] == "strided"
    )  # fmt: skip
    dense = entry["dense"] if beside == "torch" else entry["peers"]["dense, packed"]
    return dense["median_s"] / entry["stl"]["median_s"]
