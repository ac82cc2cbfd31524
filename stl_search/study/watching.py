"""A study as it stands, for whoever looks at it while it runs: by rank, by arm, and who is at work.

What does not belong here: drawing it (`cli.watch`), the report at the end (`report`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, func, select

from stl_search.study.opened import Study
from stl_search.study.queue import Goal, goal
from stl_search.study.tables import ARMS, ENTRIES, FOUND, IS_RUNNING

_E = ENTRIES.c


@dataclass(frozen=True)
class RankLine:
    """The least total of a rank, which no smaller rank reaches.

    Attributes:
        rank: of the algorithms.
        total: the least.
        family: of the first trial that found it. group: likewise. name: of what it found.
        ago: seconds since then.
    """

    rank: int
    total: float
    family: str
    group: str
    name: str
    ago: float


@dataclass(frozen=True)
class ArmLine:
    """What a family with a group has cost and what it gave.

    Attributes:
        family: of the arm. group: likewise, "" for none.
        finished: trials with a result. without_candidate: trials without one.
        running: trials under way.
        seconds: that its trials took together.
        best: the least total at the rank asked for; None without one.
        gain: 1 - best / least total of all other arms: what the study would lose without this arm where it
            is positive, how far it is behind where it is negative; None where there is nothing to compare.
        leads: ranks whose least total it found first.
    """

    family: str
    group: str
    finished: int
    without_candidate: int
    running: int
    seconds: float
    best: float | None
    gain: float | None
    leads: tuple[int, ...]


@dataclass(frozen=True)
class Busy:
    """A trial under way.

    Attributes:
        family: of its arm. group: likewise.
        stage: how far it is. seconds: since it was begun.
        machine: of its worker.
    """

    family: str
    group: str
    stage: str
    seconds: float
    machine: str


@dataclass(frozen=True)
class Overview:
    """A study as it stands.

    Attributes:
        study: its name.
        dtype: of all totals.
        finished: entries with a result or without a candidate.
        goal: how far it is to be worked off.
        ranks: lines by rank. arms: lines by arm, least total first. running: trials under way.
    """

    study: str
    dtype: str
    finished: int
    goal: Goal
    ranks: tuple[RankLine, ...]
    arms: tuple[ArmLine, ...]
    running: tuple[Busy, ...]

    @property
    def is_done(self) -> bool:
        """Whether nobody is at work and nothing that was asked for is left."""
        left = self.goal.trials is not None and self.finished < self.goal.trials
        return not (self.running or left or self.goal.seconds > 0)

    def as_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes."""
        document = asdict(self)
        document["goal"]["seconds"] = max(self.goal.seconds, 0.0)
        return {**document, "done": self.is_done}


def overview(study: Study) -> Overview:
    """The study as it stands, in four reads of the storage; none of them reads an algorithm.

    Raises:
        StorageLost: the storage is away.
    """
    ranks, running = _ranks(study), _running(study)
    arms = _arms(study, ranks, running)
    finished = sum(line.finished + line.without_candidate for line in arms)
    return Overview(study.name, study.settings.dtype, finished, goal(study), ranks, arms, running)


def _ranks(study: Study) -> tuple[RankLine, ...]:
    own = FOUND.c.study == study.name
    bar = (
        select(FOUND.c.rank, func.min(FOUND.c.total).label("least")).where(own).group_by(FOUND.c.rank)
    ).subquery()
    first = (
        select(FOUND.c.rank, func.min(FOUND.c.entry).label("entry"))
        .join(bar, and_(bar.c.rank == FOUND.c.rank, bar.c.least == FOUND.c.total))
        .where(own)
        .group_by(FOUND.c.rank)
    ).subquery()
    since = study.database.now - _E.begun - _E.seconds
    lines = study.database.rows(
        select(FOUND.c.rank, FOUND.c.total, FOUND.c.entry, FOUND.c.name, since)
        .join(bar, and_(bar.c.rank == FOUND.c.rank, bar.c.least == FOUND.c.total))
        .join(first, and_(first.c.rank == FOUND.c.rank, first.c.entry == FOUND.c.entry))
        .join(ENTRIES, and_(_E.study == FOUND.c.study, _E.entry == FOUND.c.entry))
        .where(own)
        .order_by(FOUND.c.rank, FOUND.c.place)
    )
    kept: list[RankLine] = []
    for rank, total, entry, name, ago in lines:
        if not kept or total < kept[-1].total:
            kept.append(RankLine(rank, total, *study.settings.arm(entry), name, max(float(ago), 0.0)))
    return tuple(kept)


def _running(study: Study) -> tuple[Busy, ...]:
    since = study.database.now - _E.begun
    lines = study.database.rows(
        select(_E.entry, _E.stage, since, _E.worker)
        .where(_E.study == study.name, IS_RUNNING)
        .order_by(_E.entry)
    )
    return tuple(
        Busy(*study.settings.arm(entry), stage, float(seconds), worker.partition("/")[0].partition(":")[0])
        for entry, stage, seconds, worker in lines
    )


def _arms(study: Study, ranks: tuple[RankLine, ...], running: tuple[Busy, ...]) -> tuple[ArmLine, ...]:
    lines = study.database.rows(
        select(ARMS.c.arm, ARMS.c.complete, ARMS.c.without_candidate, ARMS.c.seconds, ARMS.c.best).where(
            ARMS.c.study == study.name
        )
    )
    names = study.settings.arms()
    bests = {arm: best for arm, _, _, _, best in lines if best is not None}
    made = []
    for arm, complete, without, seconds, best in lines:
        others = min((value for other, value in bests.items() if other != arm), default=None)
        gain = None if best is None or not others else 1 - best / others
        family, group = names[arm]
        made.append(
            ArmLine(
                family, group, complete, without,
                sum((busy.family, busy.group) == (family, group) for busy in running), seconds, best, gain,
                tuple(line.rank for line in ranks if (line.family, line.group) == (family, group)),
            )
        )  # fmt: skip
    made.sort(key=lambda line: float("inf") if line.best is None else line.best)
    return tuple(made)
