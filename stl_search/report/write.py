"""Rendering a report's content to report.html, report.md, scores.csv and figures/frontier.png."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import jinja2
import plotly.io
from plotly.offline import get_plotlyjs

from stl_algebra.errors import StlError
from stl_algebra.files import write_atomically
from stl_algebra.groups import FiniteGroup, parse_group
from stl_search.pictures.cayley import cayley_figure
from stl_search.report import figures
from stl_search.report.content import Content


def write_report(content: Content, folder: Path) -> list[Path]:
    """Write all files of the report; returns their paths, report.html first.

    Raises:
        Unavailable: the folder cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stl_search.report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short"] = _short
    environment.filters["behind"] = _behind
    values = _values(content)
    png = write_atomically(folder / "figures" / "frontier.png", figures.frontier_png(content))
    html = environment.get_template("report.html.j2").render(
        **values, plotlyjs=get_plotlyjs(), pictures=_pictures(content)
    )
    markdown = environment.get_template("report.md.j2").render(**values)
    return [
        write_atomically(folder / "report.html", html),
        write_atomically(folder / "report.md", markdown),
        write_atomically(folder / "scores.csv", scores_csv(content)),
        png,
    ]


def _short(value: float) -> str:
    """Three significant figures; exact zero and rounding dust as such."""
    if value == 0 or abs(value) < 1e-25:
        return "0"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def _behind(best: float | None, arms: list[dict[str, Any]]) -> str:
    """How far a best total is above the least of all arms, in per cent."""
    least = min((arm["best"] for arm in arms if arm["best"] is not None), default=None)
    if best is None or least is None:
        return ""
    return "best" if best <= least else f"+{100 * (best / max(least, 1e-300) - 1):.3g}%"


def winning_group(content: Content) -> FiniteGroup | None:
    """The group of the chosen winner, else of the best winner or the best trial that has one."""
    winners = [content.chosen, *content.winners.values()]
    names = [name for w in winners for name in w.algorithm.provenance.groups]
    names += [row["group"] for row in content.trials["arms"] if row["group"]]
    for name in names:
        try:
            return parse_group(name)
        except StlError:  # a table file that is gone by now
            continue
    return None


def _values(content: Content) -> dict[str, Any]:
    group = winning_group(content)
    return {
        "run": content.run,
        "settings": content.run.settings,
        "tile": content.chosen.algorithm.tile,
        "winners": content.winners,
        "chosen": content.chosen,
        "described": dict(content.pairs),
        "tables": {name: content.rows_at(name) for name, _ in content.pairs},
        "trials": content.trials,
        "made": content.made,
        "exactness": content.exactness,
        "headline": content.headline,
        "standings": content.standings,
        "untried": content.untried,
        "group": group,
    }


def _pictures(content: Content) -> dict[str, str]:
    group = winning_group(content)
    drawn = {
        "frontier": figures.frontier_figure(content),
        "factors": figures.factors_figure(content.chosen.algorithm),
    }
    if group is not None:
        drawn["cayley"] = cayley_figure(group)
        drawn["fourier"] = figures.fourier_figure(group)
    return {
        name: plotly.io.to_html(
            figure,
            include_plotlyjs=False,
            full_html=False,
            div_id=f"figure-{name}",
            config={"displaylogo": False, "responsive": True},
        )
        for name, figure in drawn.items()
    }


def scores_csv(content: Content) -> str:
    """All rows of the evaluation, then the winners' closed-form scores as matrices "white (closed form)",
    or "profile p1,... (closed form)".
    """
    buffer = io.StringIO()
    fields = list(content.rows[0].as_dict()) if content.rows else []
    fields = fields or [
        "method",
        "kind",
        "tile",
        "rank",
        "ratio",
        "matrices",
        "nmse",
        "amplification",
        "total",
    ]
    writer = csv.DictWriter(buffer, fields, lineterminator="\n", restval="")
    writer.writeheader()
    for row in content.rows:
        writer.writerow(row.as_dict())
    for rank, winner in content.winners.items():
        writer.writerow(
            {
                "method": winner.algorithm.name,
                "kind": "encoders",
                "tile": winner.algorithm.tile.slug,
                "rank": rank,
                "ratio": winner.algorithm.ratio,
                "matrices": f"{winner.scores.tiles} (closed form)",
                "nmse": winner.scores.nmse,
                "amplification": winner.scores.amplification,
                "total": winner.scores.total(content.run.settings.dtype),
            }
        )
    return buffer.getvalue()
