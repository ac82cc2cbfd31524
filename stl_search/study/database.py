"""The database of a study: connections that last one transaction, its clock, patience while it is away.

What does not belong here: what the tables mean (`queue`, `findings`).
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, Executable, literal_column, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from stl_algebra.errors import InvalidInput, Unavailable
from stl_search.study.tables import METADATA
from stl_search.study.urls import without_password

T = TypeVar("T")

#: Seconds that a storage may be away before a command gives up.
PATIENCE = 600.0
#: PostgreSQL's advisory lock under which tables and studies are made; any number that nobody else uses.
_LOCK = 7_305_482_119


class StorageLost(Unavailable):
    """The storage answered, went away, and did not come back in time."""

    exit_code = 1


def options_of(url: str) -> tuple[str, dict[str, Any]]:
    """The URL with its driver, and what SQLAlchemy's `create_engine` is given with it.

    Connections are made for a transaction and closed after it: hundreds of workers, each of which needs one
    for milliseconds in minutes, are no more than a few at a time to the server.

    Raises:
        InvalidInput: not a URL of SQLite or PostgreSQL.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "sqlite":
        return url, {"connect_args": {"timeout": 60}, "poolclass": NullPool}
    if separator and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        # psycopg 3, and no hanging on a server that is not there any more.
        arguments = {
            "connect_timeout": 10,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
        return f"postgresql+psycopg://{rest}", {"connect_args": arguments, "poolclass": NullPool}
    raise InvalidInput(
        "storage",
        expected="a URL such as sqlite:///study.db or postgresql://user@host/name",
        got=repr(without_password(url)),
        hint="" if separator else f"for a file: sqlite:///{url}",
    )


@dataclass
class Database:
    """A database and how long to wait for it.

    Attributes:
        url: as the user gave it.
        patience: seconds that it may be away in the middle of the work.
        engine: made from the URL.
        returned: value of `time.monotonic` when it was last found again after it had been away.
    """

    url: str
    patience: float = PATIENCE
    engine: Engine = field(init=False, repr=False)
    returned: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        url, options = options_of(self.url)
        self.engine = sqlalchemy.create_engine(url, **options)

    @property
    def is_postgres(self) -> bool:
        """Whether it is PostgreSQL; else it is SQLite."""
        return self.engine.dialect.name == "postgresql"

    @property
    def now(self) -> Any:
        """SQL: seconds since 1970 by the database's clock, the only one that leases are measured with."""
        if self.is_postgres:
            return literal_column("extract(epoch from clock_timestamp())::double precision", sqlalchemy.Float)
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", sqlalchemy.Float)

    @property
    def up_since(self) -> Any:
        """SQL: since when its server runs, for leases could not be renewed before; 0 where it has none."""
        if self.is_postgres:
            return literal_column(
                "extract(epoch from pg_postmaster_start_time())::double precision", sqlalchemy.Float
            )
        return literal_column("0.0", sqlalchemy.Float)

    def insert_new(self, table: sqlalchemy.Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that leaves lines alone that are there."""
        if self.is_postgres:
            return postgresql.insert(table).on_conflict_do_nothing()
        return sqlite.insert(table).on_conflict_do_nothing()

    def transaction(self, work: Callable[[Connection], T], patience: float | None = None) -> T:
        """What `work` returns, done in a transaction; repeated while the storage is away.

        A commit whose answer was lost is done twice: `work` must leave things as they are then. On SQLite the
        first statement of a transaction that writes must write, so that nobody else comes between.

        Raises:
            StorageLost: away for longer than `patience` (default: the database's).
            Unavailable: it answers with an error.
        """
        give_up = time.monotonic() + (self.patience if patience is None else patience)
        pause, away = 0.05, False
        while True:
            try:
                with self.engine.begin() as connection:
                    done = work(connection)
                if away:
                    self.returned = time.monotonic()
                return done
            except SQLAlchemyError as error:
                if not _may_pass(error):
                    raise Unavailable(self._words("fails", error)) from error
                if time.monotonic() >= give_up:
                    raise StorageLost(self._words("is away", error)) from error
                away = True
            # Workers that lost it together do not come back together.
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(give_up - time.monotonic(), 0.0)))
            pause = min(2 * pause, 5.0)

    def rows(self, statement: Executable, patience: float | None = None) -> list[Any]:
        """The lines that a statement which only reads gives."""
        return self.transaction(lambda connection: list(connection.execute(statement)), patience)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is in here: tables and studies are made by one process after the other.

        SQLite has no such lock; `storage` repeats there what another process did at the same moment.
        """
        if not self.is_postgres:
            yield
            return
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
            try:
                yield
            finally:
                # The lock ends with the connection, also where that is gone.
                with contextlib.suppress(SQLAlchemyError):
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})

    def make_tables(self) -> None:
        """Make what is missing of `tables`."""
        METADATA.create_all(self.engine)

    def _words(self, what: str, error: SQLAlchemyError) -> str:
        return without_password(f"storage {self.url} {what}: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _may_pass(error: SQLAlchemyError) -> bool:
    """Whether it is the connection, the server or a lock, and not what was asked."""
    if isinstance(error, OperationalError | InterfaceError):
        # SQLite has this class for wrong statements too.
        name = str(getattr(error.orig, "sqlite_errorname", "SQLITE_BUSY"))
        return name.split("_")[1] in ("BUSY", "LOCKED", "CANTOPEN", "IOERR", "FULL")
    return isinstance(error, DBAPIError) and error.connection_invalidated
