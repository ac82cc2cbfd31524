"""Worker processes around a study: how many run, what dead ones leave, when to give up."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stl_algebra.errors import StlError, Unavailable
from stl_search.study.database import PATIENCE, StorageLost
from stl_search.study.opened import Study
from stl_search.study.plan import Settings
from stl_search.study.queue import goal, queue_up_to, release_abandoned, set_goal
from stl_search.study.results import progress, unfinished
from stl_search.study.run_folder import Run
from stl_search.study.showing import show_rest
from stl_search.study.storage import join_study, open_storage, open_study
from stl_search.study.unsent import send_rest
from stl_search.study.work import Bounds, work

#: Exit code of a worker process whose storage was away for good.
_LOST = 3


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


@dataclass(frozen=True)
class Task:
    """What worker processes are given.

    Attributes:
        url: of the storage.
        name: of the study.
        settings: of the study.
        folder: where results are kept while the storage is away.
        bounds: how far they work.
        command: stored in provenance.
        patience: seconds that the storage may be away.
    """

    url: str
    name: str
    settings: Settings
    folder: Path
    bounds: Bounds
    command: str = ""
    patience: float = PATIENCE


def search(
    run: Run,
    *,
    trials: int | None,
    budget: float | None,
    jobs: int,
    watch: Callable[[State], None] | None = None,
    patience: float = PATIENCE,
) -> Study:
    """Run the plan in `jobs` processes until `trials` entries are finished or `budget` seconds are over.

    Interrupting it leaves everything finished in the storage; calling it again continues. Workers of other
    machines may join (`join`).

    Raises:
        Unavailable: the storage does not answer, or a worker died.
        StorageLost: it went away for longer than `patience`; what was found then is kept in the run's folder.
        InvalidInput: the study exists with other settings.
    """
    began = time.monotonic()
    study = open_study(open_storage(run.storage_url, patience), run.study_name, run.settings)
    send_rest(study, run.folder)
    set_goal(study, trials, budget, run.strategy)
    if trials is not None:
        queue_up_to(study, trials)
    bounds = Bounds(trials, None if budget is None else began + budget, run.strategy)
    task = Task(run.storage_url, run.study_name, run.settings, run.folder, bounds, run.command, patience)
    _supervise(study, task, jobs, watch, began)
    show_rest(study)
    return study


def join(
    url: str,
    name: str,
    *,
    folder: Path,
    budget: float | None = None,
    jobs: int = 1,
    watch: Callable[[State], None] | None = None,
    patience: float = PATIENCE,
    command: str = "",
) -> tuple[Study, int]:
    """Work on a study that a run has started, as far as runs have asked for, or for `budget` seconds.

    Returns:
        The study, and how many of its entries have a result more than when this began.

    Raises:
        InvalidInput: no such study.
        Unavailable, StorageLost: as `search`.
    """
    began = time.monotonic()
    study = join_study(open_storage(url, patience), name)
    send_rest(study, folder)
    before, asked = progress(study).finished, goal(study)
    rounds = []
    if budget is not None:
        rounds.append(Bounds(None, began + budget, asked.strategy))
    else:
        if asked.trials is not None:
            queue_up_to(study, asked.trials)
            rounds.append(Bounds(asked.trials, None, asked.strategy))
        if asked.seconds > 0:
            rounds.append(Bounds(None, time.monotonic() + asked.seconds, asked.strategy))
    for bounds in rounds:
        task = Task(url, name, study.settings, folder, bounds, command, patience)
        _supervise(study, task, jobs, watch, began)
    show_rest(study)
    return study, progress(study).finished - before


def _supervise(
    study: Study, task: Task, jobs: int, watch: Callable[[State], None] | None, began: float
) -> None:
    """Keep processes at work until the task's bounds are reached and all of them have ended."""
    context = multiprocessing.get_context("spawn")
    bounds, workers = task.bounds, list[Any]()
    release_abandoned(study)
    try:
        while True:
            if bounds.trials is not None and not unfinished(study, bounds.trials):
                break
            if bounds.deadline is not None and time.monotonic() >= bounds.deadline:
                break
            _replace_ended(workers, context, task, jobs, study)
            if watch:
                watch(_state(study, began))
            time.sleep(0.25)
        # Trials in flight at the deadline are finished work too: wait for them.
        for worker in workers:
            while worker.is_alive():
                worker.join(0.5)
                if watch:
                    watch(_state(study, began))
        _check_storage(workers, task)
    except StorageLost as error:
        # What is under way is finished and kept; the workers then give up by themselves.
        for worker in workers:
            worker.join()
        raise StorageLost(f"{str(error).partition('; what was')[0]}; {_kept(task)}") from error
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join()
        # Whatever ends it, without waiting for a storage that is away.
        with contextlib.suppress(StlError):
            release_abandoned(study, patience=0.0)
    if watch:
        watch(_state(study, began))


def _replace_ended(workers: list[Any], context: Any, task: Task, jobs: int, study: Study) -> None:
    """Keep `jobs` workers alive while there is something to do; what dead ones left waits again."""
    _check_storage(workers, task)
    failed = [w for w in workers if w.exitcode not in (None, 0)]
    if len(failed) > 3 + jobs:
        raise Unavailable(f"worker processes keep dying (exit code {failed[-1].exitcode})")
    alive = sum(w.is_alive() for w in workers)
    if alive == jobs:
        return
    if workers:
        release_abandoned(study)
    bounds = task.bounds
    wanted = jobs if bounds.trials is None else unfinished(study, bounds.trials, jobs)
    for _ in range(wanted - alive):
        remaining = None if bounds.deadline is None else bounds.deadline - time.monotonic()
        worker = context.Process(target=_worker, args=(task, remaining, os.getpid()), daemon=True)
        worker.start()
        workers.append(worker)


def _check_storage(workers: list[Any], task: Task) -> None:
    if any(w.exitcode == _LOST for w in workers):
        raise StorageLost(f"the storage is away; {_kept(task)}")


def _kept(task: Task) -> str:
    return f"what was found since is kept in {task.folder / 'unsent'}, sent at the next start"


def _worker(task: Task, seconds: float | None, parent: int) -> None:
    """A worker process: ends with its parent, ignores Ctrl-C (the parent decides)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
    # The budget began in the parent; what starting this process took has been spent.
    deadline = None if seconds is None else time.monotonic() + seconds
    bounds = Bounds(task.bounds.trials, deadline, task.bounds.strategy)
    try:
        study = _open_with_patience(task)
        work(study, bounds, task.folder, task.command)
    except StorageLost:
        sys.exit(_LOST)
    except StlError as error:
        sys.exit(f"error: {error}")


def _open_with_patience(task: Task) -> Study:
    """The task's study: it was open a moment ago, so a storage that does not answer may come back."""
    give_up = time.monotonic() + task.patience
    while True:
        try:
            return open_study(open_storage(task.url, task.patience), task.name, task.settings)
        except Unavailable as error:
            if time.monotonic() >= give_up:
                raise StorageLost(str(error)) from error
            time.sleep(1.0)


def _state(study: Study, began: float) -> State:
    now = progress(study)
    return State(now.finished, now.best, time.monotonic() - began, now.running)
