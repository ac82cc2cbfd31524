"""The tables of a study, beside Optuna's in the same database.

stl_studies      one line a study: how far its plan is worked off, until when, by which strategy
stl_entries      one line a plan entry that was queued or begun: its state, its lease, its result
stl_arms         one line an arm of the plan: counts, so that neither claims nor displays read all entries
stl_found        what each finished entry found: totals, names, provenance
stl_algorithms   the factors of algorithms, once by digest, whichever study and entry found them
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, literal_column


class EntryState(IntEnum):
    """What has become of a plan entry."""

    WAITING = 0
    RUNNING = 1
    COMPLETE = 2
    WITHOUT_CANDIDATE = 3


#: Seconds that a claimed entry is its worker's without a sign of life.
LEASE = 60.0

METADATA = MetaData()


def _study() -> Column[str]:
    return Column("study", String(200), primary_key=True)


STUDIES = Table(
    "stl_studies",
    METADATA,
    _study(),
    # Entries 0 .. trials-1 are to be finished; -1 where time is the bound.
    Column("trials", Integer, nullable=False),
    # Seconds since 1970 by the database's clock; nothing new is begun afterwards.
    Column("deadline", Float, nullable=False),
    Column("strategy", String(50), nullable=False),
)
ENTRIES = Table(
    "stl_entries",
    METADATA,
    _study(),
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("state", Integer, nullable=False),
    # Who runs it, and a word that is new with every claim.
    Column("worker", String(200), nullable=False, default=""),
    Column("token", String(40), nullable=False, default=""),
    # Until when it is the worker's, and when it was begun: seconds since 1970 by the database's clock.
    Column("lease", Float, nullable=False, default=0.0),
    Column("begun", Float, nullable=False, default=0.0),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("claims", Integer, nullable=False, default=0),
    Column("stage", String(200), nullable=False, default=""),
    Column("value", Float),
    Column("reason", Text),
    # Whether Optuna has a trial of it, for whoever looks at the study with Optuna's tools.
    Column("shown", Boolean, nullable=False, default=False),
)
#: Conditions on lines of `ENTRIES`. The numbers stand in the text of the statement, so that the database sees
#: that an index below holds just these lines.
IS_WAITING = ENTRIES.c.state == literal_column(str(EntryState.WAITING.value))
IS_RUNNING = ENTRIES.c.state == literal_column(str(EntryState.RUNNING.value))
IS_DONE = ENTRIES.c.state > literal_column(str(EntryState.RUNNING.value))
IS_NOT_SHOWN = IS_DONE & ENTRIES.c.shown.is_(False)
for _name, _where in (
    ("stl_waiting", IS_WAITING),
    ("stl_running", IS_RUNNING),
    ("stl_not_shown", IS_NOT_SHOWN),
):
    Index(_name, ENTRIES.c.study, ENTRIES.c.entry, sqlite_where=_where, postgresql_where=_where)

ARMS = Table(
    "stl_arms",
    METADATA,
    _study(),
    Column("arm", Integer, primary_key=True, autoincrement=False),
    Column("complete", Integer, nullable=False, default=0),
    Column("without_candidate", Integer, nullable=False, default=0),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("best", Float),
    # Every entry of the arm below this number has a line.
    Column("next_entry", Integer, nullable=False),
)
FOUND = Table(
    "stl_found",
    METADATA,
    _study(),
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("rank", Integer, nullable=False),
    Column("total", Float, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("provenance", Text, nullable=False),
    Index("stl_found_by_rank", "study", "rank", "total"),
)
ALGORITHMS = Table(
    "stl_algorithms",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("tile", String(50), nullable=False),
    Column("factors", Text, nullable=False),
)
