"""Studies of version 1 kept queue and findings in Optuna's trials: they are brought over once."""

from __future__ import annotations

from optuna.trial import TrialState

from stl_algebra.algorithms.encoders_file import decode_algorithm
from stl_search.study.opened import Study
from stl_search.study.results import finish
from stl_search.study.showing import mark_shown
from stl_search.trials.trial import Outcome


def bring_over(study: Study) -> None:
    """Enter what an older version's trials found; doing it again changes nothing.

    Trials that ran are marked as failed. Their entries, and those that waited, are queued by the next run.
    """
    for trial in study.optuna.get_trials(deepcopy=False):
        index = int(trial.user_attrs.get("index", -1))
        if trial.state is TrialState.RUNNING:
            study.optuna.tell(trial.number, state=TrialState.FAIL)
        if index < 0 or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            continue
        result: Outcome | str = str(trial.user_attrs.get("reason", ""))
        if trial.state is TrialState.COMPLETE:
            algorithms = tuple(decode_algorithm(data) for data in trial.user_attrs["algorithms"])
            result = Outcome(algorithms, tuple(float(v) for v in trial.user_attrs["totals"]))
        took = trial.duration.total_seconds() if trial.duration else 0.0
        finish(study, index, result, took)
        mark_shown(study, index)
