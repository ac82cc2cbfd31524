"""What the queue of a study costs as it grows: claims and progress beside 100 and 100,000 finished trials.

A second table counts the trials that two workers finish in the time of one. It needs a PostgreSQL database
that is empty, or that this has measured in before:

    python -m benchmarks.queue postgresql://me@host/name     # writes results/search/queue.json

Without a URL it is SQLite in a temporary folder. What does not belong here: the queue itself.
"""

from __future__ import annotations

import datetime
import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy import Connection, update

from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_search.study.opened import Study
from stl_search.study.plan import Settings
from stl_search.study.queue import begin_next, claim, queue_up_to, renew
from stl_search.study.results import finish, progress
from stl_search.study.storage import open_storage, open_study
from stl_search.study.strategies.base import strategy
from stl_search.study.tables import ARMS, ENTRIES, EntryState
from stl_search.study.urls import without_password
from stl_search.study.work import Bounds, work

SETTINGS = Settings(("S3", "C2^2"), "2", 6, families=("fourier", "orbits", "known", "random"))
SIZES = (100, 100_000)
REPEATS = 60
#: Seconds that workers are counted for.
COUNTED = 20.0


def run(url: str) -> dict[str, Any]:
    """Median milliseconds of each operation by size, their ratio, and trials by workers."""
    studies = {size: filled(url, size) for size in SIZES}
    taken: dict[str, dict[int, list[float]]] = {}
    # In turn, so that whatever else the machine does meets both.
    for _ in range(REPEATS):
        for size, study in studies.items():
            for name, seconds in measured(study).items():
                taken.setdefault(name, {}).setdefault(size, []).append(seconds)
    rows = {}
    for name, by_size in taken.items():
        medians = {size: 1e3 * statistics.median(values) for size, values in by_size.items()}
        quartiles = {size: [1e3 * q for q in statistics.quantiles(v, n=4)] for size, v in by_size.items()}
        rows[name] = {
            "milliseconds": medians,
            "quartiles": quartiles,
            "ratio": medians[SIZES[-1]] / medians[SIZES[0]],
        }
    counts = {jobs: trials_of(url, jobs) for jobs in (1, 2)}
    return {"operations": rows, "trials": counts, "two_workers_to_one": counts[2] / counts[1]}


def filled(url: str, size: int) -> Study:
    """A study with that many finished entries and as many that wait as are claimed here."""
    study = open_study(open_storage(url), f"stl-bench-{size}-{uuid.uuid4().hex[:8]}", SETTINGS)
    queue_up_to(study, size + 2 * REPEATS)
    arms = len(SETTINGS.arms())
    each = size // arms

    def write(connection: Connection) -> None:
        connection.execute(
            update(ENTRIES)
            .where(ENTRIES.c.study == study.name, ENTRIES.c.entry < size)
            .values(state=EntryState.COMPLETE.value, value=0.5, seconds=1.0, shown=True)
        )
        connection.execute(
            update(ARMS)
            .where(ARMS.c.study == study.name)
            .values(complete=each, seconds=float(each), best=0.5)
        )

    study.database.transaction(write)
    return study


def measured(study: Study) -> dict[str, float]:
    """Seconds of each operation, once."""
    times = {}

    def timed(name: str, operation: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = operation()
        times[name] = time.perf_counter() - began
        return result

    claimed = timed("claim", lambda: claim(study))
    timed("renew", lambda: renew(study, claimed))
    timed("finish", lambda: finish(study, claimed.index, "no candidate", 1.0))
    begun = timed("begin the next by strategy", lambda: begin_next(study, strategy("stride")))
    finish(study, begun.index, "no candidate", 1.0)
    timed("progress", lambda: progress(study))
    return times


def trials_of(url: str, jobs: int) -> int:
    """Trials that so many workers finish in `COUNTED` seconds, after both have begun."""
    name = f"stl-bench-jobs{jobs}-{uuid.uuid4().hex[:8]}"
    study = open_study(open_storage(url), name, SETTINGS)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        workers = [context.Process(target=_work, args=(url, name, Path(folder))) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        while len(progress(study).running) < jobs:
            time.sleep(0.02)
        before = progress(study).finished
        time.sleep(COUNTED)
        done = progress(study).finished - before
        for worker in workers:
            worker.terminate()
            worker.join()
    return done


def _work(url: str, name: str, folder: Path) -> None:
    study = open_study(open_storage(url), name, SETTINGS)
    work(study, Bounds(None, time.monotonic() + 10 * COUNTED, "rounds"), folder)


def main(arguments: list[str]) -> int:
    """Measure and write; 2 where the arguments are not one URL or none."""
    if len(arguments) > 1:
        print("usage: python -m benchmarks.queue [postgresql://user@host/name]", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        url = arguments[0] if arguments else f"sqlite:///{folder}/study.db"
        storage = open_storage(url)
        kind = storage.database.engine.dialect.name
        with storage.database.engine.connect() as connection:
            server = connection.dialect.server_version_info
        record = {
            "command": without_password(f"python -m benchmarks.queue {' '.join(arguments)}".strip()),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "device": f"cpu {platform.machine()}, database on the same machine",
            "versions": {
                "stl_algebra": __version__,
                "optuna": optuna.__version__,
                "sqlalchemy": sqlalchemy.__version__,
                "database": f"{kind} {'.'.join(map(str, server or ()))}",
                **({"psycopg": version("psycopg")} if kind == "postgresql" else {}),
            },
            "results": run(url),
        }  # fmt: skip
    target = "queue" if kind == "postgresql" else f"queue-{kind}"
    print(write_atomically(f"results/search/{target}.json", json.dumps(record, indent=1) + "\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
