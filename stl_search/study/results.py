"""Results of a study: written once for each entry, counted, and read again.

The first result of an entry is its result: `finish` writes it, what it found and the counts of its arm in one
transaction, and whoever comes later with another changes nothing. Factors are stored once by digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Float, and_, case, func, or_, select, update

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import decode_algorithm, encode_algorithm
from stl_search.study.opened import Study
from stl_search.study.tables import (
    ALGORITHMS,
    ARMS,
    ENTRIES,
    FOUND,
    IS_DONE,
    IS_RUNNING,
    IS_WAITING,
    LEASE,
    EntryState,
)
from stl_search.trials.trial import EXACT_PREFERENCE, Outcome

_E = ENTRIES.c


def finish(
    study: Study, index: int, result: Outcome | str, seconds: float, patience: float | None = None
) -> bool:
    """Write the result of an entry; False when it had one, which stays.

    Args:
        study: of the entry.
        index: of the entry.
        result: what its trial found, or why its family has no candidate there.
        seconds: that the trial took.
        patience: as `Database.transaction` takes it.
    """
    database = study.database
    found = None if isinstance(result, str) else result
    value = found.totals[0] if found else None
    state = EntryState.COMPLETE if found else EntryState.WITHOUT_CANDIDATE
    algorithms = found.algorithms if found else ()
    documents = [{"digest": a.digest, **encode_algorithm(a)} for a in algorithms]
    factors = {d["digest"]: {key: d[key] for key in ("digest", "tile", "factors")} for d in documents}
    totals = found.totals if found else ()
    lines = [
        {
            "study": study.name, "entry": index, "place": place, "rank": a.rank, "total": total,
            "digest": d["digest"], "name": d["name"], "provenance": json.dumps(d["provenance"]),
        }
        for place, (a, d, total) in enumerate(zip(algorithms, documents, totals, strict=True))
    ]  # fmt: skip
    mine = and_(_E.study == study.name, _E.entry == index)
    arm = and_(ARMS.c.study == study.name, ARMS.c.arm == index % len(study.settings.arms()))

    line = {"study": study.name, "entry": index, "state": EntryState.WAITING.value}

    def write(connection: Connection) -> bool:
        connection.execute(database.insert_new(ENTRIES).values(**line))
        new = update(ENTRIES).where(mine, _E.state <= EntryState.RUNNING.value).values(
            state=state.value, value=value, reason=None if found else str(result)[:2000], seconds=seconds,
            stage="", lease=database.now + LEASE,
        )  # fmt: skip
        if connection.execute(new).rowcount == 0:
            return False
        # In one order, so that two workers do not wait for each other.
        for digest in sorted(factors):
            connection.execute(database.insert_new(ALGORITHMS).values(**factors[digest]))
        if lines:
            connection.execute(FOUND.insert(), lines)
        counts: dict[str, Any] = {"seconds": ARMS.c.seconds + seconds}
        if found:
            counts["complete"] = ARMS.c.complete + 1
            better = or_(ARMS.c.best.is_(None), ARMS.c.best > value)
            counts["best"] = case((better, value), else_=ARMS.c.best)
        else:
            counts["without_candidate"] = ARMS.c.without_candidate + 1
        connection.execute(update(ARMS).where(arm).values(**counts))
        return True

    return database.transaction(write, patience)


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        finished: entries that have a result.
        best: the least total at the rank asked for, None without one.
        running: family, group and stage of what workers are busy with.
    """

    finished: int
    best: float | None
    running: tuple[str, ...]


def progress(study: Study) -> Progress:
    """How far a study is, from the counts by arm and what runs."""
    counts = study.database.rows(
        select(ARMS.c.complete + ARMS.c.without_candidate, ARMS.c.best).where(ARMS.c.study == study.name)
    )
    running = study.database.rows(
        select(_E.entry, _E.stage).where(_E.study == study.name, IS_RUNNING).order_by(_E.entry)
    )
    return Progress(
        sum(count for count, _ in counts),
        min((best for _, best in counts if best is not None), default=None),
        tuple(" ".join(w for w in (*study.settings.arm(index), stage) if w) for index, stage in running),
    )


def unfinished(study: Study, count: int, most: int = 1) -> int:
    """How many of the queued entries 0 .. count-1 have no result yet; not counted beyond `most`."""
    some = select(_E.entry).where(_E.study == study.name, _E.entry < count).limit(most)
    # One by one, as the indices of what waits and of what runs have it.
    return min(sum(len(study.database.rows(some.where(state))) for state in (IS_RUNNING, IS_WAITING)), most)


def finished_totals(study: Study) -> dict[int, float | None]:
    """Plan entries that have a result, with its total; None where the family has no candidate."""
    done = select(_E.entry, _E.value).where(_E.study == study.name, IS_DONE).order_by(_E.entry)
    return {int(index): value for index, value in study.database.rows(done)}


def finished_algorithms(
    study: Study, limit: float = float("inf")
) -> Iterator[tuple[int, float, BilinearAlgorithm]]:
    """(plan index, total, algorithm) of what finished trials found and can still win, in plan order.

    That is what is within `EXACT_PREFERENCE` of the least total of its rank.

    Args:
        study: of the run.
        limit: plan entries from this number on do not count.
    """
    own = [FOUND.c.study == study.name]
    if limit != float("inf"):
        own.append(FOUND.c.entry < int(limit))
    least = select(FOUND.c.rank, func.min(FOUND.c.total).label("least")).where(*own).group_by(FOUND.c.rank)
    bar = least.subquery()
    near = FOUND.c.total <= bar.c.least * (EXACT_PREFERENCE * (1 + 1e-12))
    wanted = (
        select(FOUND.c.entry, FOUND.c.total, FOUND.c.name, FOUND.c.provenance)
        .add_columns(ALGORITHMS.c.tile, ALGORITHMS.c.factors)
        .join(bar, bar.c.rank == FOUND.c.rank)
        .join(ALGORITHMS, ALGORITHMS.c.digest == FOUND.c.digest)
        .where(*own, near)
        .order_by(FOUND.c.entry, FOUND.c.place)
    )
    for index, total, name, provenance, tile, factors in study.database.rows(wanted):
        document = {"tile": tile, "name": name, "provenance": json.loads(provenance), "factors": factors}
        yield index, float(total), decode_algorithm(document)


def trial_table(
    study: Study, limit: float = float("inf"), asked: Sequence[tuple[str, str]] = ()
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
    arms = study.settings.arms()
    number = (_E.entry % len(arms)).label("arm")
    own = [_E.study == study.name, IS_DONE]
    if limit != float("inf"):
        own.append(_E.entry < int(limit))
    lines = study.database.rows(
        select(number, _E.state, func.count(), func.min(_E.value, type_=Float))
        .where(*own)
        .group_by(number, _E.state)
    )
    empty = {"count": 0, "without_candidate": 0, "best": None}
    by_arm: dict[tuple[str, str], dict[str, Any]] = {arm: dict(empty) for arm in asked}
    for arm, state, count, best in lines:
        line = by_arm.setdefault(arms[arm], dict(empty))
        if state == EntryState.COMPLETE.value:
            line.update(count=count, best=best)
        else:
            line["without_candidate"] = count
    table: list[dict[str, Any]] = [{"family": f, "group": g, **line} for (f, g), line in by_arm.items()]
    table.sort(key=lambda row: float("inf") if row["best"] is None else row["best"])
    return {
        "finished": sum(row["count"] for row in table),
        "without_candidate": sum(row["without_candidate"] for row in table),
        "arms": table,
    }
