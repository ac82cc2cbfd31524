"""Finished entries as trials of the Optuna study, for dashboards and whoever reads it with Optuna.

Nothing of the search reads them. A worker shows what it has finished; what it did not come to, because it was
killed in between, is shown by the next command, once.
"""

from __future__ import annotations

import datetime

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import SQLAlchemyError

from stl_search.study.opened import Study
from stl_search.study.tables import ENTRIES, IS_NOT_SHOWN, LEASE

_E = ENTRIES.c


def show(study: Study, index: int) -> None:
    """Add an entry that this process has just finished; `show_rest` does where the storage goes away."""
    line = study.database.rows(
        select(_E.value, _E.reason, _E.seconds).where(_E.study == study.name, _E.entry == index)
    )[0]
    _add(study, index, *line)


def show_rest(study: Study) -> None:
    """Add what is finished and not shown where its worker has had time enough to show it."""
    database = study.database
    left = (
        update(ENTRIES)
        .where(
            _E.study == study.name, IS_NOT_SHOWN, _E.lease < database.now
        )
        .values(lease=database.now + LEASE)
        .returning(_E.entry, _E.value, _E.reason, _E.seconds)
    )  # fmt: skip
    lines = database.transaction(lambda connection: list(connection.execute(left)))
    if not lines:
        return
    # Its worker may have added it and not said so.
    there = {t.user_attrs.get("index") for t in study.optuna.get_trials(deepcopy=False)}
    for index, value, reason, seconds in lines:
        if index in there:
            mark_shown(study, index)
        else:
            _add(study, index, value, reason, seconds)


def _add(study: Study, index: int, value: float | None, reason: str | None, seconds: float) -> None:
    settings = study.settings
    name, group = settings.arm(index)
    choices: dict[str, BaseDistribution] = {
        "family": CategoricalDistribution(list(settings.families)),
        "group": CategoricalDistribution([*settings.groups, ""]),
        "seed": IntDistribution(0, 2**32 - 1),
    }
    trial = optuna.trial.create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={"family": name, "group": group, "seed": settings.entry(index).seed},
        distributions=choices,
        user_attrs={"index": index, **({"reason": reason} if reason else {})},
    )
    trial.datetime_complete = datetime.datetime.now()
    trial.datetime_start = trial.datetime_complete - datetime.timedelta(seconds=seconds)
    try:
        study.optuna.add_trial(trial)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError):
        return
    mark_shown(study, index)


def mark_shown(study: Study, index: int) -> None:
    """Say that Optuna has a trial of the entry."""
    statement = update(ENTRIES).where(_E.study == study.name, _E.entry == index).values(shown=True)

    def write(connection: Connection) -> None:
        connection.execute(statement)

    study.database.transaction(write)
