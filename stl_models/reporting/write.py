"""Rendering a conversion's report; pictures are SVG made by matplotlib, inside the page."""

from __future__ import annotations

import datetime
import io
import platform
from pathlib import Path
from typing import Any

import jinja2
import torch

from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_kernels.device.peaks import device_name
from stl_models.report import Report

_ACCENT, _SOFT = "#b5341c", "#5c6470"


def write_report(report: Report, folder: str | Path, command: str = "") -> list[Path]:
    """Write report.html and report.md; returns their paths, report.html first.

    Raises:
        Unavailable: the folder cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stl_models.reporting"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short"] = _short
    values = _values(report, command)
    html = environment.get_template("report.html.j2").render(**values, pictures=_pictures(report))
    markdown = environment.get_template("report.md.j2").render(**values)
    folder = Path(folder)
    return [write_atomically(folder / "report.html", html), write_atomically(folder / "report.md", markdown)]


def _short(value: float) -> str:
    if value != value:  # a figure that was not measured
        return ""
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def layer_rows(report: Report) -> list[dict[str, Any]]:
    """One row a layer: what it became, its cost, its error."""
    rows = []
    for decision in report.allocation.decisions:
        for names, choice in decision.products:
            share = choice.cost / len(names)
            cut = decision.cut.recipe if decision.cut is not None else ""
            recipe = " + ".join(r for r in (cut, choice.recipe) if r)
            sizes = {**(decision.cut.parameters if decision.cut is not None else {}), **choice.parameters}
            for name in names:
                k, m = report.plan.structure.linears[name]
                rows.append(
                    {
                        "name": name, "shape": f"{k} x {m}", "recipe": recipe,
                        "sizes": ", ".join(f"{key} {value}" for key, value in sizes.items()),
                        "dense": k * m, "core": share, "ratio": k * m / share if share else float("inf"),
                        "error": report.errors.get(name, float("nan")),
                    }
                )  # fmt: skip
    order = {name: i for i, name in enumerate(report.plan.links.order)}
    return sorted(rows, key=lambda row: order[row["name"]])


def _values(report: Report, command: str) -> dict[str, Any]:
    config = report.config
    targets = (("ratio", config.ratio), ("loss", config.loss), ("seconds", config.seconds))
    target = next(f"{name} {value:g}" for name, value in targets if value is not None)
    rows = layer_rows(report)
    return {
        "report": report,
        "rows": rows,
        "all_exact": _all_exact(rows),
        "target": target,
        "command": command,
        "left": report.plan.structure.left,
        "totals": report.plan.totals(),
        "metric": _metric(report),
        "device": device_name("cpu"),
        "made": {
            "stl-algebra": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "date": datetime.date.today().isoformat(),
        },
    }


def _metric(report: Report) -> str:
    """The figure of the whole model in the rows of peers, "" for none."""
    known = {"method", "core", "error", "why"}
    return next((key for row in report.peers for key in row if key not in known), "")


def _pictures(report: Report) -> dict[str, str]:
    """SVG by name; "" where it would be empty: all errors are 0, or no loss is above 0."""
    rows = layer_rows(report)
    errors = [row["error"] for row in rows]
    return {
        "allocation": _bars([r["ratio"] for r in rows], "dense over core multiplications"),
        "errors": "" if _all_exact(rows) else _bars(errors, "relative output error"),
        "frontier": _line(report.allocation.frontier, report.ratios.get("core", float("nan"))),
    }


def _all_exact(rows: list[dict[str, Any]]) -> bool:
    return bool(rows) and all(row["error"] == 0 for row in rows)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.8))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_SOFT, labelsize=9)
    return figure, axes


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _bars(values: list[float], label: str) -> str:
    figure, axes = _figure()
    shown = [0.0 if v != v or v == float("inf") else v for v in values]
    axes.bar(range(len(shown)), shown, color=_ACCENT)
    axes.set_xlabel("layer, in the order of execution", fontsize=9, color=_SOFT)
    axes.set_ylabel(label, fontsize=9, color=_SOFT)
    return _svg(figure)


def _line(points: tuple[tuple[float, float], ...], chosen: float) -> str:
    finite = [(ratio, loss) for ratio, loss in points if loss > 0]
    if not finite:
        return ""
    figure, axes = _figure()
    axes.plot([r for r, _ in finite], [x for _, x in finite], color=_SOFT, marker="o", markersize=3)
    if chosen == chosen:
        axes.axvline(chosen, color=_ACCENT, linewidth=1)
    axes.set_yscale("log")
    axes.set_xlabel("core ratio", fontsize=9, color=_SOFT)
    axes.set_ylabel("predicted loss", fontsize=9, color=_SOFT)
    return _svg(figure)
