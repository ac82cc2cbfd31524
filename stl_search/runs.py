"""A whole run: search, winners, report."""

from __future__ import annotations

import optuna

from stl_search.frontier.winners import choose_winners, write_winners
from stl_search.matrices.pair import MatrixPair
from stl_search.report.content import Content, collect
from stl_search.report.write import write_report
from stl_search.study.queue import finished_algorithms, trial_table
from stl_search.study.run_folder import Run
from stl_search.trials.als import Progress


def finish(
    run: Run,
    study: optuna.Study,
    pairs: list[MatrixPair],
    trials: int | None,
    progress: Progress | None = None,
) -> Content | None:
    """Choose the winners, write their files and the report; None when nothing is finished.

    With `trials` only plan entries below that number count, so that a bounded run ends the same way
    whatever else is in the storage.
    """
    limit = float("inf") if trials is None else trials
    found = [item for item in finished_algorithms(study) if item[0] < limit]
    if not found:
        return None
    winners = choose_winners(found, run.settings.dtype)
    write_winners(run.folder, winners)
    content = collect(run, winners, pairs, trial_table(study, limit), progress)
    write_report(content, run.folder)
    return content
