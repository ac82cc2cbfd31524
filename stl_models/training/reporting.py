"""The files of a finished run: result.json and the curve of its evaluations."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stl_algebra.files import write_atomically
from stl_algebra.version import __version__


def write_result(result: Mapping[str, Any], folder: Path, *, figure: str = "accuracy") -> list[Path]:
    """Write result.json, with the versions, and curve.png: training loss and one figure against steps.

    Args:
        result: with "rows" as `loop.fit` returns them.
        folder: of the run.
        figure: which of the rows' figures to draw.

    Raises:
        Unavailable: a file cannot be written.
    """
    versions = {"stl_algebra": __version__, "torch": torch.__version__}
    content = json.dumps({**result, "versions": versions}, indent=1) + "\n"
    return [
        write_atomically(folder / "result.json", content),
        write_atomically(folder / "curve.png", _curve(result["rows"], figure)),
    ]


def _curve(rows: list[dict[str, Any]], figure: str) -> bytes:
    from matplotlib.figure import Figure

    made = Figure(figsize=(7, 3.2), layout="constrained")
    for axes, name in zip(made.subplots(1, 2), ("loss", figure), strict=True):
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], marker=".")
        axes.set_xlabel("steps")
        axes.set_title("training loss" if name == "loss" else name.replace("_", " "), fontsize=9)
    out = io.BytesIO()
    made.savefig(out, format="png", dpi=120)
    return out.getvalue()
