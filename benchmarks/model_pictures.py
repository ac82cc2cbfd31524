"""The picture of results/models: how good a whole model is against the multiplications left of its layers.

    python -m benchmarks.model_pictures

reads results/models/causal.json and encoder.json and writes quality.png beside them. Markers tell the methods
apart without colours. What does not belong here: measuring (`models`).
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

from stl_algebra.files import write_atomically
from stl_search.pictures.style import PALETTE

#: What a method of the results is called, its marker and its colour.
METHODS = {
    "exact": ("exact tiles alone", "*", 0),
    "structured": ("compressed, on exact tiles", "o", 0),
    "pivoted-low-rank": ("low rank with pivots, on exact tiles", "o", 0),
    "2:4-sparsegpt": ("2:4, SparseGPT", "s", 1),
    "2:4-refit": ("2:4, SparseGPT and refit", "D", 2),
    "2:4-wanda": ("2:4, Wanda", "^", 4),
    "low-rank-whitened": ("low rank, activation-aware", "v", 3),
}
PANELS = (
    ("causal", "perplexity", "SmolLM2-135M-Instruct", "perplexity (lower is better)"),
    ("encoder", "cosine", "all-MiniLM-L6-v2", "cosine with the dense model (higher is better)"),
)
_NAME = re.compile(r"(?P<method>.+) at [\d.]+, repair (?P<repair>[\w-]+)(, (?P<steps>\d+) steps)?$")


def points(document: dict[str, Any], figure: str) -> list[tuple[str, bool, float, float]]:
    """(method, whether repaired, share of the multiplications, figure) of every entry that has them."""
    found = []
    for name, entry in document["results"].items():
        match = _NAME.match(name)
        if match is None or match["steps"] or figure not in entry or match["method"] not in METHODS:
            continue
        repaired = match["repair"] != "never"
        found.append((match["method"], repaired, 1 / entry["ratios"]["core"], entry[figure]))
    return found


def draw(folder: Path) -> Path:
    """Write the picture beside the results."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(10, 4.2), layout="constrained")
    for number, (stem, figure, title, label) in enumerate(PANELS):
        axes = canvas.add_subplot(1, 2, number + 1)
        document = json.loads((folder / f"{stem}.json").read_text("utf-8"))
        seen: set[str] = set()
        own = []
        for method, repaired, share, value in points(document, figure):
            words, marker, colour = METHODS[method]
            words += "" if repaired or method == "exact" else ", as published"
            axes.plot(
                100 * share, value, marker, color=PALETTE[colour], markersize=12 if marker == "*" else 8,
                markerfacecolor=PALETTE[colour] if repaired else "white",
                label=None if words in seen else words,
            )  # fmt: skip
            seen.add(words)
            axes.annotate(f"{value:.3g}", (100 * share, value), (7, 5), textcoords="offset points")
            if colour == 0:
                own.append((100 * share, value))
        axes.plot(*zip(*sorted(own), strict=True), color=PALETTE[0], linewidth=1, zorder=0)
        if "dense" in document["results"]:
            level = document["results"]["dense"][figure]
            axes.axhline(level, color="#666666", linewidth=1, linestyle="--", label=f"dense, {level:.3g}")
        axes.set_title(title)
        axes.set_xlabel("core multiplications left, % of the dense layers'")
        axes.set_ylabel(label)
        axes.set_xlim(left=46, right=84)
        axes.legend(fontsize="small", frameon=False)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=130)
    return write_atomically(folder / "quality.png", buffer.getvalue())


if __name__ == "__main__":
    print(draw(Path("results/models")))
