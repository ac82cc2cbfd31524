"""What a report says, as plain values, before any formatting."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.progress import Progress
from stl_algebra.version import __version__
from stl_search.judging.evaluation import Row, evaluate
from stl_search.matrices.pair import MatrixPair
from stl_search.report.standing import EQUAL, Standing, headline, standings
from stl_search.study.run_folder import Run

#: Ratios at which baselines are drawn, beside the ratio of the rank that was asked for.
_BASELINE_RATIOS = (1.33, 2.0, 3.0)


@dataclass(frozen=True)
class Content:
    """Everything the renderers need.

    Attributes:
        run: what was asked for.
        winners: by rank.
        chosen: the winner of the rank asked for, or the nearest one.
        rows: errors of winners and baselines on every pair.
        pairs: names and sources of the pairs.
        trials: counts by state and best totals by family and group, as `study.queue.trial_table` gives them.
        made: date, versions, machine.
    """

    run: Run
    winners: dict[int, Judged]
    chosen: Judged
    rows: list[Row]
    pairs: list[tuple[str, str]]
    trials: dict[str, Any]
    made: dict[str, str]

    @property
    def exactness(self) -> str:
        """What is proven of the chosen winner, in a word where nothing is."""
        return self.chosen.verification.message if self.chosen.exact else "approximate"

    @property
    def standing(self) -> list[Standing]:
        """Where the chosen winner stands among the baselines that save as much, on every pair."""
        algorithm = self.chosen.algorithm
        return standings(self.rows, [algorithm.ratio], [algorithm.rank])

    @property
    def headline(self) -> str:
        """The same in a sentence."""
        return headline(self.standing)

    @property
    def standings(self) -> list[Standing]:
        """Where the best encoders of each ratio stand, on every pair."""
        return standings(self.rows, _ratios_beside(self.chosen.algorithm.ratio))

    @property
    def untried(self) -> list[str]:
        """Groups that were asked for and had no trial."""
        tried = {
            row["group"] for row in self.trials["arms"] if row["count"] or row.get("without_candidate", 0)
        }
        known = {row["group"] for row in self.trials["arms"]}
        return [g for g in self.run.settings.groups if g in known and g not in tried]

    def rows_at(self, matrices: str) -> list[Row]:
        """Rows for one pair: the chosen winner and every baseline at the nearest ratio, best first."""
        ratio = self.chosen.algorithm.ratio
        mine = [r for r in self.rows if r.matrices == matrices]
        encoders = [r for r in mine if r.kind == "encoders" and r.rank == self.chosen.algorithm.rank]
        nearest: dict[str, Row] = {}
        for row in mine:
            if row.kind == "baseline":
                kept = nearest.get(row.method)
                if kept is None or abs(row.ratio - ratio) < abs(kept.ratio - ratio):
                    nearest[row.method] = row
        return sorted([*encoders, *nearest.values()], key=lambda r: r.total)


def collect(
    run: Run,
    winners: dict[int, Judged],
    pairs: Sequence[MatrixPair],
    trials: dict[str, Any],
    progress: Progress | None = None,
) -> Content:
    """Score the winners and the baselines on all pairs."""
    winners = dict(sorted(winners.items()))
    chosen = winners[min(winners, key=lambda r: (abs(r - run.settings.rank), r))]
    ratios = _ratios_beside(chosen.algorithm.ratio)
    algorithms = [w.algorithm for w in winners.values()]
    rows = evaluate(algorithms, pairs, run.settings.dtype, ratios, progress)
    made = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "stl-algebra": __version__,
        "torch": version("torch"),
        "numpy": version("numpy"),
        "optuna": version("optuna"),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "rounding": f"c({run.settings.dtype}) = {rounding_constant(run.settings.dtype):.3g} per unit of A",
    }
    described = [(p.name, _described(p)) for p in pairs]
    return Content(run, winners, chosen, rows, described, trials, made)


def _described(pair: MatrixPair) -> str:
    x, w = pair.x.shape, pair.w.shape
    rows = pair.calibration_moments.count if pair.moments else len(pair.calibration)
    return f"X {x[0]}x{x[1]}, W {w[0]}x{w[1]}, calibrated on {rows} rows; {pair.source}"


def _ratios_beside(own: float) -> list[float]:
    """Where baselines are drawn; a ratio that counts as the winner's own is not drawn twice."""
    return sorted([own, *(ratio for ratio in _BASELINE_RATIOS if abs(ratio - own) > EQUAL * own)])
