"""Pictures of stored results: models and encoders beside their peers, and what became of a model's layers.

    python -m benchmarks.pictures
    python -m benchmarks.pictures --converted FOLDER

reads results/ and writes models/quality.png, models/allocation.png and frontier-4x4x4/peers.png there, and
the picture of dynamic least squares in docs/figures; with a folder that `stl-search convert` has made, its
allocation is stored in models/allocation.json before. Markers tell series apart without colours. What does
not belong here: measuring (`models`, `dls`).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from benchmarks import dls
from stl_algebra.files import write_atomically
from stl_search.pictures.files import save_figure
from stl_search.pictures.style import PALETTE

#: What a method of the results is called, its marker and its colour.
METHODS = {
    "exact": ("exact tiles alone", "*", 0),
    "structured": ("compressed, on exact tiles", "o", 0),
    "pivoted-low-rank": ("low rank with pivots, on exact tiles", "P", 0),
    "2:4-sparsegpt": ("2:4, SparseGPT", "s", 1),
    "2:4-refit": ("2:4, SparseGPT and refit", "D", 2),
    "2:4-wanda": ("2:4, Wanda", "^", 4),
    "low-rank-whitened": ("low rank, activation-aware", "v", 3),
}
#: File, figure, title, label, and the converted folder that was timed.
PANELS = (
    ("causal", "perplexity", "SmolLM2-135M-Instruct", "perplexity (lower is better)", "smollm2-135m-2x"),
    (
        "encoder", "cosine", "all-MiniLM-L6-v2", "cosine with dense (higher is better)", "minilm-2x"
    ),
)  # fmt: skip
_NAME = re.compile(r"(?P<method>.+) at [\d.]+, repair (?P<repair>[\w-]+)(, (?P<steps>\d+) steps)?$")


def points(document: dict[str, Any], figure: str) -> list[tuple[str, bool, dict[str, float], float]]:
    """(method, whether repaired, shares left by kind, figure) of every entry that has them."""
    found = []
    for name, entry in document["results"].items():
        match = _NAME.match(name)
        if match is None or match["steps"] or figure not in entry or match["method"] not in METHODS:
            continue
        repaired = match["repair"] != "never"
        shares = {kind: 100 / entry["ratios"][kind] for kind in ("core", "everything")}
        found.append((match["method"], repaired, shares, entry[figure]))
    return found


def quality(folder: Path) -> Path:
    """How good a whole model is against what is left of its layers: core, all operations, measured time."""
    canvas = Figure(figsize=(10, 5), layout="constrained")
    times = {}
    if (folder / "time.json").exists():
        times = json.loads((folder / "time.json").read_text("utf-8"))["results"]
    handles: dict[str, Any] = {}
    for number, (stem, figure, title, label, timed) in enumerate(PANELS):
        axes = canvas.add_subplot(1, 2, number + 1)
        document = json.loads((folder / f"{stem}.json").read_text("utf-8"))
        own = []
        for method, repaired, shares, value in points(document, figure):
            words, marker, colour = METHODS[method]
            words += "" if repaired or method == "exact" else ", as published"
            (handles[words],) = axes.plot(
                shares["core"], value, marker, color=PALETTE[colour], markersize=12 if marker == "*" else 8,
                markerfacecolor=PALETTE[colour] if repaired else "white",
            )  # fmt: skip
            # Beside the line of ours, which falls to the right or rises.
            rises = colour == 0 and figure == "cosine"
            beside = (6, 6) if colour == 0 and not rises else (-7, 4) if rises else (9, -4)
            axes.annotate(
                f"{value:.3g}", (shares["core"], value), beside, textcoords="offset points",
                ha="right" if rises else "left",
            )  # fmt: skip
            if colour != 0:
                continue
            own.append((shares["core"], value))
            across = [shares["core"], shares["everything"]]
            axes.plot(across, [value] * 2, color=PALETTE[0], linewidth=0.8, linestyle=":", zorder=0)
            (handles["the same, all operations"],) = axes.plot(
                shares["everything"], value, "|", color=PALETTE[0], markersize=12, markeredgewidth=2
            )
        axes.plot(*zip(*sorted(own), strict=True), color=PALETTE[0], linewidth=1, zorder=0)
        if f"time of {timed}" in times:
            share = 100 / times[f"time of {timed}"]["measured_speedup"]
            # Of the conversion at ratio 2, the leftmost of ours.
            place = (share, min(own)[1])
            (handles["the same, measured time of the model"],) = axes.plot(
                *place, "x", color=PALETTE[0], markersize=9, markeredgewidth=2
            )
            axes.annotate(f"{share:.0f}%", place, (0, 9), textcoords="offset points", ha="center")
        if "dense" in document["results"]:
            level = document["results"]["dense"][figure]
            handles["dense"] = axes.axhline(level, color="#666666", linewidth=1, linestyle="--")
            axes.annotate(f"dense, {level:.3g}", (50, level), (0, -13), textcoords="offset points")
        axes.axvline(100, color="#666666", linewidth=1)
        axes.set_title(title)
        axes.set_xlabel("left of the dense layers', %")
        axes.set_ylabel(label)
        axes.margins(x=0.17, y=0.1)
    canvas.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize="small", frameon=False
    )
    return save_figure(canvas, folder / "quality.png")


#: Series of scores.csv: (kind, method) -> words, marker, colour.
PEERS = {
    ("encoders", ""): ("encoders, published frontier", "-", 0),
    ("baseline", "exact tiles on a share"): ("exact tiles on a share of the products", ":", 0),
    ("baseline", "low rank on exact tiles"): ("low rank on exact tiles", "o-", 2),
    ("baseline", "activation-aware SVD"): ("low rank, activation-aware", "v--", 3),
    ("baseline", "column-row by norm"): ("sampled columns and rows", "x--", 7),
    ("baseline", "gaussian sketch"): ("Gaussian sketch", "+--", 6),
    ("baseline", "2:4 magnitude"): ("2:4, by magnitude", "^", 4),
    ("baseline", "2:4 SparseGPT"): ("2:4, SparseGPT", "s", 1),
}
#: Methods of results/sorted-profile, and how they are drawn.
SORTED_LINES = (
    ("sorted profile", "-", "encoders for sorted features"),
    ("sorted profile, <4,8,4>", ":", "the same, longer tiles <4,8,4>"),
)


def peers(results: Path) -> Path:
    """Error of a product against the ratio of multiplications: encoders and what people use instead."""
    with (results / "frontier-4x4x4/scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    layers = json.loads((results / "sorted-profile/layers.json").read_text("utf-8"))["results"]
    canvas = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = canvas.subplots(1, 2, sharey=True)
    for axes, which, title in (
        (left, "gaussian", "matrices of independent entries"),
        (right, "minilm:", "four layers of all-MiniLM-L6-v2, mean"),
    ):
        for (kind, method), (words, style, colour) in PEERS.items():
            values: dict[float, list[float]] = defaultdict(list)
            for row in rows:
                if (
                    row["kind"] == kind
                    and method in ("", row["method"])
                    and row["matrices"].startswith(which)
                ):
                    values[float(row["ratio"])].append(float(row["nmse"]))
            # What rests on exact tiles is exact at their ratio; no line leads there on this scale.
            least = 1.5 if "exact tiles" in method else 0
            line = sorted((ratio, fmean(found)) for ratio, found in values.items() if ratio > least)
            axes.plot(*zip(*line, strict=True), style, color=PALETTE[colour], label=words, markersize=6)
        if axes is right:
            for method, style, words in SORTED_LINES:
                line = [
                    (row["ratio"], row["error"])
                    for row in layers[0]["rows"]
                    if row["method"] == method and row["error"] > 1e-6
                ]
                axes.plot(*zip(*line, strict=True), style, color="black", label=words)
        axes.axvline(64 / 48, color="#666666", linewidth=0.8, linestyle="-.")
        axes.annotate("exact, 48", (64 / 48, 0.82), (3, 0), textcoords="offset points", fontsize="small")
        axes.set_yscale("log")
        axes.set_ylim(0.01, 1)
        axes.set_xlim(1.25, 4.05)
        axes.set_title(title)
        axes.set_xlabel("ratio: dense over core multiplications")
    left.set_ylabel("relative squared error of the product")
    handles, labels = right.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return save_figure(canvas, results / "frontier-4x4x4/peers.png")


#: Part of a layer's name -> what it is, marker, colour.
KINDS = {
    "q_proj": ("query, key", "o", 0), "k_proj": ("query, key", "o", 0), "v_proj": ("value", "x", 5),
    "o_proj": ("attention's output", "s", 1), "gate_proj": ("MLP, up", "^", 2),
    "up_proj": ("MLP, up", "^", 2), "down_proj": ("MLP, down", "v", 3),
}  # fmt: skip


def store_allocation(converted: Path, path: Path) -> None:
    """What the converted folder's plan.json says of every layer, in short."""
    plan = json.loads((converted / "plan.json").read_text("utf-8"))
    shapes = {row["name"]: row["shape"] for row in plan["plan"]["rows"]}
    layers = {}
    for decision in plan["decisions"]:
        for product in decision["products"]:
            share = product["cost"] / len(product["names"])
            for name in product["names"]:
                inner, columns = shapes[name]
                layers[name] = {
                    "recipe": product["recipe"],
                    "ratio": inner * columns / share if share else None,
                    "error": plan["errors"].get(name),
                }
    found = {key: plan[key] for key in ("version", "torch", "ratios", "rows")}
    write_atomically(path, json.dumps({"model": converted.name, **found, "layers": layers}, indent=1) + "\n")


def allocation(folder: Path) -> Path:
    """Ratio and error of every layer over a model's depth."""
    document = json.loads((folder / "allocation.json").read_text("utf-8"))
    canvas = Figure(figsize=(10, 5), layout="constrained")
    upper, lower = canvas.subplots(2, 1, sharex=True)
    series: dict[tuple[str, str, int], list[tuple[int, float, float]]] = defaultdict(list)
    for name, layer in document["layers"].items():
        block = next(int(part) for part in name.split(".") if part.isdigit())
        kind = KINDS[name.rsplit(".", 1)[-1]]
        series[kind].append((block, layer["ratio"], layer["error"]))
    for (words, marker, colour), values in series.items():
        blocks, ratios, errors = zip(*sorted(values), strict=True)
        for axes, shown in ((upper, ratios), (lower, errors)):
            axes.plot(
                blocks,
                shown,
                marker,
                color=PALETTE[colour],
                markerfacecolor="none",
                label=words,
                markersize=5,
            )
    upper.axhline(document["ratios"]["core"], color="#666666", linewidth=0.8, linestyle="--")
    upper.set_yscale("log")
    upper.set_yticks([1, 2, 4, 8, 16], labels=["1", "2", "4", "8", "16"])
    upper.minorticks_off()
    upper.set_ylabel("dense over core\nmultiplications")
    lower.set_ylabel("relative output error\n(none where exact)")
    lower.set_yscale("log")
    lower.set_xlabel("block, from input to output")
    upper.legend(ncols=5, frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.22))
    return save_figure(canvas, folder / "allocation.png")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--converted", type=Path, help="a converted model, for the allocation")
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    models = given.results / "models"
    if given.converted is not None:
        store_allocation(given.converted, models / "allocation.json")
    print(quality(models), peers(given.results), sep="\n")
    if (models / "allocation.json").exists():
        print(allocation(models))
    squares = json.loads((given.results / "numerics/dls.json").read_text("utf-8"))["results"]
    rows, growth = squares["seconds_per_row"], squares["seconds_per_row_d512_against_n"]
    print(dls.draw(rows, growth, squares["exponents_in_d"], squares["exponents_in_n"]))


if __name__ == "__main__":
    main()
