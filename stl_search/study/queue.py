"""The queue of a study: which plan entries wait, run under a lease, or are finished.

Entry i of the plan is a function of the run's settings and i alone. It is claimed by one statement, which
no two workers get the same line from, and belongs to its worker for `LEASE` seconds of the database's clock;
the worker's thread renews that (`lease`). An entry whose lease has run out, or whose worker is seen to be
gone, is claimed again. Nothing here reads the finished entries: counts by arm have a table of their own.

What does not belong here: what a trial does (`trials`), results (`results`), who works (`work`, `workers`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from stl_algebra.families import FAMILIES
from stl_search.study.opened import Study
from stl_search.study.signature import is_gone, sign
from stl_search.study.strategies.base import Record, Strategy
from stl_search.study.tables import ARMS, ENTRIES, IS_RUNNING, IS_WAITING, LEASE, STUDIES, EntryState

_E = ENTRIES.c


@dataclass(frozen=True)
class Claim:
    """A plan entry that is this worker's.

    Attributes:
        index: of the entry.
        token: of this claim.
    """

    index: int
    token: str


@dataclass(frozen=True)
class Goal:
    """How far a study is to be worked off.

    Attributes:
        trials: entries 0 .. trials-1 are to be finished; None where time is the bound.
        seconds: left for beginning others; at most 0 where there is no time left.
        strategy: which entry comes next where time is the bound.
    """

    trials: int | None
    seconds: float
    strategy: str


def set_goal(study: Study, trials: int | None, seconds: float | None, strategy: str) -> None:
    """Let the study be worked off this far, or as far as another command has already asked for."""
    own = STUDIES.c.study == study.name

    def write(connection: Connection) -> None:
        if trials is not None:
            connection.execute(update(STUDIES).where(own, STUDIES.c.trials < trials).values(trials=trials))
        if seconds is not None:
            until = study.database.now + seconds
            connection.execute(
                update(STUDIES).where(own, STUDIES.c.deadline < until)
                .values(deadline=until, strategy=strategy)
            )  # fmt: skip

    study.database.transaction(write)


def goal(study: Study) -> Goal:
    """How far the study is to be worked off, as of now."""
    left = STUDIES.c.deadline - study.database.now
    line = study.database.rows(
        select(STUDIES.c.trials, left, STUDIES.c.strategy).where(STUDIES.c.study == study.name)
    )[0]
    return Goal(None if line[0] < 0 else line[0], float(line[1]), line[2])


def queue_up_to(study: Study, count: int) -> None:
    """See that entries 0 .. count-1 are waiting, running or finished."""
    own = _E.study == study.name
    present = study.database.rows(select(func.count()).where(own, _E.entry < count))[0][0]
    if present == count:
        return
    arms = len(study.settings.arms())

    def write(connection: Connection) -> None:
        lines = [_waiting(study, index) for index in range(count)]
        for first in range(0, count, 2000):
            connection.execute(study.database.insert_new(ENTRIES), lines[first : first + 2000])
        for arm in range(arms):
            beyond = arm + arms * max(-(-(count - arm) // arms), 0)
            connection.execute(
                update(ARMS)
                .where(ARMS.c.study == study.name, ARMS.c.arm == arm, ARMS.c.next_entry < beyond)
                .values(next_entry=beyond)
            )

    study.database.transaction(write)


def _waiting(study: Study, index: int) -> dict[str, Any]:
    return {"study": study.name, "entry": index, "state": EntryState.WAITING.value}


def claim(study: Study, limit: int | None = None) -> Claim | None:
    """An entry that waits, or whose lease has run out; None when there is none below `limit`.

    Leases cannot be renewed while the storage is away. For one lease after it is back, or after its server
    was started, none counts as run out.
    """
    database, token = study.database, uuid.uuid4().hex
    here = and_(_E.study == study.name, _E.entry < limit) if limit is not None else _E.study == study.name
    now, up = database.now, database.up_since
    run_out = and_(IS_RUNNING, _E.lease < now, up + LEASE < now)
    ways = [IS_WAITING]
    if time.monotonic() - database.returned > LEASE:
        ways.append(run_out)

    def take(connection: Connection) -> int | None:
        for way in ways:
            first = select(_E.entry).where(here, way).order_by(_E.entry).limit(1)
            if database.is_postgres:
                first = first.with_for_update(skip_locked=True)
            taken = connection.execute(
                update(ENTRIES)
                .where(_E.study == study.name, _E.entry == first.scalar_subquery())
                .values(**_claimed(study, token))
                .returning(_E.entry)
            ).scalar()
            if taken is not None:
                return int(taken)
        return None

    index = database.transaction(take)
    return None if index is None else Claim(index, token)


def _claimed(study: Study, token: str) -> dict[str, Any]:
    now = study.database.now
    return {
        "state": EntryState.RUNNING.value,
        "worker": sign(),
        "token": token,
        "lease": now + LEASE,
        "begun": now,
        "stage": "",
    }


def begin_next(study: Study, choose: Strategy) -> Claim:
    """Claim the entry that a run bounded by time takes next: the first one free of the arm to be tried."""
    database, token = study.database, uuid.uuid4().hex
    arms = len(study.settings.arms())
    arm, index = next_index(study, choose)

    def begin(connection: Connection) -> int:
        free = index
        while True:
            line = {"study": study.name, "entry": free, **_claimed(study, token)}
            new = database.insert_new(ENTRIES).values(**line).returning(_E.entry)
            if connection.execute(new).scalar() is not None:
                break
            free += arms
        connection.execute(
            update(ARMS).where(ARMS.c.study == study.name, ARMS.c.arm == arm).values(next_entry=free + arms)
        )
        return free

    return Claim(database.transaction(begin), token)


def next_index(study: Study, choose: Strategy) -> tuple[int, int]:
    """(arm, entry) that a run bounded by time takes next; the entry may be taken by then.

    Families without groups are tried first: the exact algorithms among them are the bar for the others and
    cheap. They are not tried again before every group has had a trial.
    """
    arms = study.settings.arms()
    lines = study.database.rows(
        select(
            ARMS.c.arm, ARMS.c.complete + ARMS.c.without_candidate, ARMS.c.seconds, ARMS.c.best,
            ARMS.c.next_entry,
        ).where(ARMS.c.study == study.name)
    )  # fmt: skip
    records = [Record() for _ in arms]
    following = list(range(len(arms)))
    for arm, trials, seconds, best, free in lines:
        records[arm] = Record(trials, seconds, best)
        following[arm] = free
    for index, seconds in _unfinished(study, len(arms)):
        record = records[index % len(arms)]
        records[index % len(arms)] = Record(
            record.trials + 1, record.seconds + seconds, record.best, record.in_flight + 1
        )
    order = sorted(range(len(arms)), key=lambda i: (FAMILIES[arms[i][0]].uses_group, i))
    arm = order[choose([records[i] for i in order])]
    if records[arm].trials and not FAMILIES[arms[arm][0]].uses_group:
        # No family without a group a second time while a group that was asked for has had none.
        had = {arms[i][1] for i in order if records[i].trials}
        arm = next((i for i in order if arms[i][1] not in had), arm)
    return arm, following[arm]


def _unfinished(study: Study, arms: int) -> Iterable[tuple[int, float]]:
    """(entry, seconds so far) of what runs, and of what waits first, some of every arm."""
    since = study.database.now - _E.begun
    yield from study.database.rows(select(_E.entry, since).where(_E.study == study.name, IS_RUNNING))
    waiting = select(_E.entry).where(_E.study == study.name, IS_WAITING).order_by(_E.entry).limit(2 * arms)
    for (index,) in study.database.rows(waiting):
        yield index, 0.0


def renew(study: Study, claimed: Claim, stage: str = "") -> bool:
    """Keep the entry for another lease and say how far it is; False when it is not this claim's any more."""
    statement = (
        update(ENTRIES)
        .where(
            _E.study == study.name, _E.entry == claimed.index,
            _E.token == claimed.token, IS_RUNNING,
        )
        .values(lease=study.database.now + LEASE, stage=stage[:200])
    )  # fmt: skip
    return bool(study.database.transaction(lambda c: c.execute(statement).rowcount, patience=0.0))


def release(study: Study, claims: Sequence[tuple[int, str]], patience: float | None = None) -> int:
    """Let entries wait again that are still those claims'; how many were."""

    def write(connection: Connection) -> int:
        released = 0
        for index, token in claims:
            released += connection.execute(
                update(ENTRIES)
                .where(
                    _E.study == study.name, _E.entry == index,
                    _E.token == token, IS_RUNNING,
                )
                .values(state=EntryState.WAITING.value, worker="", token="", lease=0.0)
            ).rowcount  # fmt: skip
        return released

    return study.database.transaction(write, patience) if claims else 0


def release_abandoned(study: Study, patience: float | None = None) -> int:
    """Let entries of this machine's ended processes wait again at once; other machines' leases run out."""
    running = study.database.rows(
        select(_E.entry, _E.token, _E.worker).where(_E.study == study.name, IS_RUNNING),
        patience,
    )
    gone = [(index, token) for index, token, worker in running if is_gone(worker)]
    return release(study, gone, patience)
