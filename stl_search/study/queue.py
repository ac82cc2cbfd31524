"""The study: a plan of trials in an Optuna storage, worked off by any number of processes and machines.

Entry i of the plan is a function of the run's settings and i alone. Each waits in the storage until a
worker claims it (Optuna's `ask` is atomic), and is finished when the storage says COMPLETE; the
algorithms are kept in the trial's attributes. A trial whose worker died is marked failed on the next
start and its entry is queued again, so nothing finished is lost or repeated. A run bounded by trials works
off a prefix of the plan and ends with the same trials however often it was stopped; one bounded by time
takes the entries in the order that `strategies` finds worthwhile.

What does not belong here: what a trial does (`trial`), choosing winners and writing files
(`frontier.winners`).
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import decode_algorithm, encode_algorithm
from stl_algebra.errors import StlError
from stl_algebra.families import FAMILIES
from stl_search.study.plan import Settings
from stl_search.study.strategies.base import Record, Strategy, strategy
from stl_search.trials.trial import Entry, run_trial


def _index(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("index", -1))


def release_abandoned(study: optuna.Study) -> int:
    """Mark running trials of dead processes of this machine as failed; their entries are queued again."""
    released = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, _, pid = str(trial.user_attrs.get("worker", "")).partition(":")
        if host == socket.gethostname() and pid.isdigit() and _alive(int(pid)):
            continue
        age = (datetime.now() - (trial.datetime_start or datetime.now())).total_seconds()
        # A worker signs within moments of claiming; other machines get an hour for a trial.
        if age < (3600 if host and host != socket.gethostname() else 5 if not host else 0):
            continue
        study.tell(trial.number, state=TrialState.FAIL)
        released += 1
    return released


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def queue_up_to(study: optuna.Study, settings: Settings, count: int) -> None:
    """See that entries 0 .. count-1 are waiting, running or finished."""
    present = {
        _index(t)
        for t in study.get_trials(deepcopy=False)
        if t.state in (TrialState.WAITING, TrialState.RUNNING)
    } | finished_indices(study)
    for index in range(count):
        if index not in present:
            _queue(study, settings, index)


def _queue(study: optuna.Study, settings: Settings, index: int) -> None:
    name, group = settings.arm(index)
    parameters = {"family": name, "group": group, "seed": settings.entry(index).seed}
    study.enqueue_trial(parameters, user_attrs={"index": index})


def next_index(study: optuna.Study, settings: Settings, choose: Strategy) -> int:
    """The plan entry that a run bounded by time takes next: the first one free of the arm to be tried.

    Families without groups are tried first: the exact algorithms among them are the bar for the others and
    cheap. They are not tried again before every group has had a trial.
    """
    arms = settings.arms()
    taken: set[int] = set()
    records = [Record() for _ in arms]
    now = datetime.now()
    for trial in study.get_trials(deepcopy=False):
        index = _index(trial)
        if trial.state is TrialState.FAIL or index < 0:
            continue
        taken.add(index)
        record = records[index % len(arms)]
        seconds = 0.0
        if trial.datetime_start:
            seconds = ((trial.datetime_complete or now) - trial.datetime_start).total_seconds()
        values = [v for v in (record.best, trial.value) if v is not None]
        records[index % len(arms)] = Record(
            record.trials + 1,
            record.seconds + seconds,
            min(values, default=None),
            record.in_flight + (not trial.state.is_finished()),
        )
    order = sorted(range(len(arms)), key=lambda i: (FAMILIES[arms[i][0]].uses_group, i))
    arm = order[choose([records[i] for i in order])]
    if records[arm].trials and not FAMILIES[arms[arm][0]].uses_group:
        # No family without a group a second time while a group that was asked for has had none.
        had = {arms[i][1] for i in order if records[i].trials}
        arm = next((i for i in order if arms[i][1] not in had), arm)
    return next(i for i in itertools.count(arm, len(arms)) if i not in taken)


def finished_indices(study: optuna.Study) -> set[int]:
    """Plan entries that have a result: COMPLETE, or PRUNED because the family has no candidate there."""
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return {_index(t) for t in study.get_trials(deepcopy=False, states=done)}


def work(
    study: optuna.Study,
    settings: Settings,
    *,
    trials: int | None = None,
    deadline: float | None = None,
    command: str = "",
    by: str = "stride",
) -> None:
    """Claim and run entries until `trials` entries are finished or the deadline passes.

    Args:
        study: shared by all workers.
        settings: of the plan.
        trials: plan entries 0 .. trials-1; None for as many as time allows, in the order of `next_index`.
        deadline: value of `time.monotonic` after which nothing new is begun.
        command: stored in provenance.
        by: name of the strategy that chooses the next entry where time is the bound.
    """
    limit = 1_000_000_000 if trials is None else trials
    choose = strategy(by)
    while deadline is None or time.monotonic() < deadline:
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if trials is not None:
                return
            _queue(study, settings, next_index(study, settings, choose))
        trial = study.ask()
        trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
        index = int(trial.user_attrs.get("index", -1))
        if index < 0 or index >= limit or _is_taken(study, index, trial.number):
            # The queue was empty, another worker had queued the same entry, or the plan is shorter now.
            study.tell(trial, state=TrialState.FAIL)
            continue
        entry = settings.entry(index)
        trial.suggest_categorical("family", list(settings.families))
        trial.suggest_categorical("group", [*settings.groups, ""])
        trial.suggest_int("seed", 0, 2**32 - 1)
        _run_and_tell(study, trial, entry, command)


def running(study: optuna.Study) -> list[str]:
    """What workers are busy with: family, group and stage of each running trial, as a display shows them."""
    return [
        " ".join(
            word
            for word in (t.params.get("family"), t.params.get("group"), t.user_attrs.get("stage"))
            if word
        )
        for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if t.params
    ]


def _is_taken(study: optuna.Study, index: int, number: int) -> bool:
    """Another trial has a result for the plan entry, or was claimed for it and has a lower number."""
    return any(
        _index(t) == index and t.number != number and (t.state is not TrialState.RUNNING or t.number < number)
        for t in study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        )
    )


def _run_and_tell(study: optuna.Study, trial: optuna.Trial, entry: Entry, command: str) -> None:
    told = time.monotonic()

    def stage(what: str, done: int, of: int) -> None:
        """Leave a note for the display, at most one a second: each is a write to the storage."""
        nonlocal told
        if time.monotonic() - told >= 1.0:
            told = time.monotonic()
            trial.set_user_attr("stage", f"{what} {done}/{of}")

    try:
        outcome = run_trial(entry, command, stage)
    except StlError as error:  # NoCandidate, or a candidate that cannot be refined
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.PRUNED)
        return
    trial.set_user_attr("algorithms", [encode_algorithm(a) for a in outcome.algorithms])
    trial.set_user_attr("totals", list(outcome.totals))
    study.tell(trial, outcome.totals[0])


def finished_algorithms(study: optuna.Study) -> Iterator[tuple[int, float, BilinearAlgorithm]]:
    """(plan index, total, algorithm) of everything that finished trials found, in plan order."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(done, key=_index):
        for value, data in zip(trial.user_attrs["totals"], trial.user_attrs["algorithms"], strict=True):
            yield _index(trial), float(value), decode_algorithm(data)


def trial_table(
    study: optuna.Study, limit: float = float("inf"), asked: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """Counts of trials and the best total of every family and group, best first.

    Args:
        study: of the run.
        limit: plan entries from this number on do not count.
        asked: (family, group) pairs that get a line even if there was no trial.

    Returns:
        "finished", "without_candidate" (counts) and "arms": family, group, count, without_candidate, best
        (None without a finished trial).
    """
    arms: dict[tuple[str, str], list[float]] = {arm: [] for arm in asked}
    without: Counter[tuple[str, str]] = Counter()
    for trial in study.get_trials(deepcopy=False):
        index = trial.user_attrs.get("index", limit)
        if index >= limit:
            continue
        if trial.state is TrialState.PRUNED:
            arm = (trial.params["family"], trial.params["group"])
            arms.setdefault(arm, [])
            without[arm] += 1
        elif trial.state is TrialState.COMPLETE and trial.value is not None:
            arms.setdefault((trial.params["family"], trial.params["group"]), []).append(trial.value)
    table: list[dict[str, Any]] = [
        {
            "family": f,
            "group": g,
            "count": len(values),
            "without_candidate": without[f, g],
            "best": min(values, default=None),
        }
        for (f, g), values in arms.items()
    ]
    table.sort(key=lambda row: float("inf") if row["best"] is None else row["best"])
    finished = sum(len(v) for v in arms.values())
    return {"finished": finished, "without_candidate": without.total(), "arms": table}
