"""Working off a run: worker processes around a study, progress, winners and report at the end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from stl_algebra.errors import StlError, Unavailable
from stl_search.study.queue import finished_indices, queue_up_to, release_abandoned, running, work
from stl_search.study.run_folder import Run
from stl_search.study.storage import open_storage, open_study


@dataclass(frozen=True)
class State:
    """What a progress display shows.

    Attributes:
        finished: entries of the plan.
        best: total at the rank asked for.
        seconds: since the search began.
        running: family, group and stage of every trial that runs.
    """

    finished: int
    best: float | None
    seconds: float
    running: tuple[str, ...] = ()


def search(
    run: Run,
    *,
    trials: int | None,
    budget: float | None,
    jobs: int,
    watch: Callable[[State], None] | None = None,
) -> optuna.Study:
    """Run the plan in `jobs` processes until `trials` entries are finished or `budget` seconds are over.

    Interrupting it leaves everything finished in the storage; calling it again continues.

    Raises:
        Unavailable: the storage does not answer, or a worker died.
        InvalidInput: the study exists with other settings.
    """
    began = time.monotonic()
    study = open_study(open_storage(run.storage_url), run.study_name, run.settings)
    release_abandoned(study)
    if trials is not None:
        queue_up_to(study, run.settings, trials)
    deadline = None if budget is None else began + budget
    context = multiprocessing.get_context("spawn")
    workers: list[Any] = []
    try:
        while True:
            if trials is not None and finished_indices(study) >= set(range(trials)):
                break
            if deadline is not None and time.monotonic() >= deadline:
                break
            _replace_ended(workers, context, run, trials, deadline, jobs, study)
            if watch:
                watch(_state(study, began))
            time.sleep(0.25)
        # Trials in flight at the deadline are finished work too: wait for them.
        for worker in workers:
            while worker.is_alive():
                worker.join(0.5)
                if watch:
                    watch(_state(study, began))
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join()
        release_abandoned(study)
    if watch:
        watch(_state(study, began))
    return study


def _replace_ended(
    workers: list[Any],
    context: Any,
    run: Run,
    trials: int | None,
    deadline: float | None,
    jobs: int,
    study: optuna.Study,
) -> None:
    """Keep `jobs` workers alive while there is something to do; requeue what dead ones left."""
    failed = [w for w in workers if w.exitcode not in (None, 0)]
    if len(failed) > 3 + jobs:
        raise Unavailable(f"worker processes keep dying (exit code {failed[-1].exitcode})")
    alive = sum(w.is_alive() for w in workers)
    if alive == jobs:
        return
    if workers:
        release_abandoned(study)
        if trials is not None:
            queue_up_to(study, run.settings, trials)
    waiting = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
    wanted = jobs if trials is None else min(jobs, alive + waiting)
    for _ in range(wanted - alive):
        remaining = None if deadline is None else deadline - time.monotonic()
        worker = context.Process(target=_worker, args=(run, trials, remaining, os.getpid()), daemon=True)
        worker.start()
        workers.append(worker)


def _worker(run: Run, trials: int | None, seconds: float | None, parent: int) -> None:
    """A worker process: ends with its parent, ignores Ctrl-C (the parent decides)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
    # The budget began in the parent; what starting this process took has been spent.
    deadline = None if seconds is None else time.monotonic() + seconds
    study = open_study(open_storage(run.storage_url), run.study_name, run.settings)
    with contextlib.suppress(StlError):
        work(study, run.settings, trials=trials, deadline=deadline, command=run.command, by=run.strategy)


def _state(study: optuna.Study, began: float) -> State:
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [t.value for t in done if t.value is not None]
    seconds = time.monotonic() - began
    return State(len(finished_indices(study)), min(values, default=None), seconds, tuple(running(study)))
