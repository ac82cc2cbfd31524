"""One worker: claims entries of a study and runs them, one after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from stl_algebra.errors import StlError
from stl_search.study.lease import Lease
from stl_search.study.opened import Study
from stl_search.study.queue import Claim, begin_next, claim, release, release_abandoned
from stl_search.study.results import unfinished
from stl_search.study.showing import show
from stl_search.study.strategies.base import strategy
from stl_search.study.unsent import send
from stl_search.trials.trial import Outcome, run_trial

#: Seconds between looks at a queue in which everything is another worker's.
_LOOK = 1.0


@dataclass(frozen=True)
class Bounds:
    """How far a worker works.

    Attributes:
        trials: until entries 0 .. trials-1 are finished; None for as many as time allows, by the strategy.
        deadline: value of `time.monotonic` after which nothing new is begun.
        strategy: name of the one that chooses the next entry where time is the bound.
    """

    trials: int | None = None
    deadline: float | None = None
    strategy: str = "stride"


def work(study: Study, bounds: Bounds, folder: Path, command: str = "") -> int:
    """Claim and run entries until the bounds are reached; how many results this worker gave.

    Where all that is left is other workers' it waits: one of them may die.

    Args:
        study: shared by all workers.
        bounds: how far.
        folder: where results are kept while the storage is away.
        command: stored in provenance.

    Raises:
        StorageLost: the storage is away for good.
    """
    choose = strategy(bounds.strategy)
    given = 0
    while bounds.deadline is None or time.monotonic() < bounds.deadline:
        claimed = claim(study, bounds.trials)
        if claimed is None and bounds.trials is not None:
            if release_abandoned(study):
                continue
            if not unfinished(study, bounds.trials):
                return given
            time.sleep(_LOOK)
            continue
        given += run_claim(study, claimed or begin_next(study, choose), folder, command)
    return given


def run_claim(study: Study, claimed: Claim, folder: Path, command: str = "") -> bool:
    """Run a claimed entry and send its result; True when it counts. Interrupted, the entry waits again."""
    began = time.monotonic()
    result: Outcome | str
    try:
        with Lease(study, claimed) as lease:
            try:
                result = run_trial(study.settings.entry(claimed.index), command, lease.stage)
            except StlError as error:  # NoCandidate, or a candidate that cannot be refined
                result = str(error)
    except BaseException:
        release(study, [(claimed.index, claimed.token)])
        raise
    counts = send(study, claimed.index, result, time.monotonic() - began, folder)
    if counts:
        show(study, claimed.index)
    return counts
