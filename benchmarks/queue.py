"""What the queue of a study costs as it grows: claims and progress beside 100 and 100,000 finished trials.

Then the trials that two workers finish in the time of one, beside two processes that run the same trials
without a database; and, on PostgreSQL, how many connections a crowd of workers keeps open.

    python -m benchmarks.queue        # on a PostgreSQL server of its own; writes results/search/queue.json
    python -m benchmarks.queue postgresql://me@host/name      # on that one, empty or measured in before

What does not belong here: the queue itself, and what happens when something dies (`drill`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy import Connection, text, update

from benchmarks.postgres import Server
from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_search.study.lease import Lease
from stl_search.study.opened import Study
from stl_search.study.plan import Settings
from stl_search.study.queue import begin_next, claim, queue_up_to, renew
from stl_search.study.results import finish, progress
from stl_search.study.showing import show
from stl_search.study.storage import open_storage, open_study
from stl_search.study.strategies.base import strategy
from stl_search.study.tables import ARMS, ENTRIES, EntryState
from stl_search.study.urls import without_password
from stl_search.study.work import Bounds, work
from stl_search.trials.trial import run_trial

SETTINGS = Settings(("S3", "C2^2"), "2", 6, families=("fourier", "orbits", "known", "random"))
SIZES = (100, 100_000)
REPEATS = 60
#: What workers are counted at: trials of a second or two, all alike.
COUNTED_AT = Settings((), "3", 22, families=("random",))
#: Seconds that workers are counted for, twice each.
COUNTED = 30.0
#: Workers of the crowd, seconds that one of their trials takes, seconds that they are looked at for.
CROWD, CROWD_TRIAL, CROWD_SECONDS = 200, (20.0, 40.0), 60.0


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
    trials: dict[str, dict[int, list[int]]] = {"workers": {1: [], 2: []}, "processes": {1: [], 2: []}}
    for _ in range(2):
        for jobs in (1, 2):
            trials["workers"][jobs].append(trials_of(url, jobs))
            trials["processes"][jobs].append(trials_without(jobs))
    record = {
        "operations": rows,
        "seconds_counted": COUNTED,
        "trials": trials,
        "two_to_one": {name: sum(counts[2]) / sum(counts[1]) for name, counts in trials.items()},
    }
    if url.startswith("postgres"):
        record["crowd"] = crowd(url)
    return record


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
    """Trials that so many workers finish in `COUNTED` seconds, after all have begun."""
    name = f"stl-bench-jobs{jobs}-{uuid.uuid4().hex[:8]}"
    study = open_study(open_storage(url), name, COUNTED_AT)
    with tempfile.TemporaryDirectory() as folder, at_work(_work, jobs, url, name, Path(folder)):
        while progress(study).finished < jobs or len(progress(study).running) < jobs:
            time.sleep(0.02)
        before = progress(study).finished
        time.sleep(COUNTED)
        return progress(study).finished - before


def trials_without(jobs: int) -> int:
    """Trials of the same plan that so many processes finish where nothing is claimed or stored."""
    finished = multiprocessing.get_context("spawn").Array("i", jobs)
    with at_work(_run, jobs, finished):
        while not all(finished[:]):
            time.sleep(0.02)
        before = sum(finished[:])
        time.sleep(COUNTED)
        return int(sum(finished[:]) - before)


def crowd(url: str) -> dict[str, Any]:
    """`CROWD` workers, each a thread whose trials only wait: connections at a time, and what claims take."""
    study = open_study(open_storage(url, 30.0), f"stl-bench-crowd-{uuid.uuid4().hex[:8]}", SETTINGS)
    queue_up_to(study, 10 * CROWD)
    waits, finished = list[float](), list[int]()
    over, rng = threading.Event(), random.Random(0)

    def worker(delay: float, took: float) -> None:
        over.wait(delay)
        while not over.is_set():
            began = time.perf_counter()
            claimed = claim(study)
            waits.append(time.perf_counter() - began)
            if claimed is None:
                return
            with Lease(study, claimed) as lease:
                lease.stage("wait", 0, 1)
                if over.wait(took):
                    return
            finish(study, claimed.index, "no candidate", took)
            show(study, claimed.index)
            finished.append(claimed.index)

    # They have begun at any time before.
    threads = [
        threading.Thread(target=worker, args=(rng.uniform(0, CROWD_TRIAL[0]), rng.uniform(*CROWD_TRIAL)))
        for _ in range(CROWD)
    ]
    for thread in threads:
        thread.start()
    open_at_once = list[int]()
    end = time.monotonic() + CROWD_SECONDS
    with study.database.engine.connect() as connection:
        statement = text("select count(*) - 1 from pg_stat_activity where datname = current_database()")
        while time.monotonic() < end:
            open_at_once.append(int(connection.scalar(statement) or 0))
            connection.rollback()
            time.sleep(0.02)
        limit = int(connection.scalar(text("show max_connections")) or 0)
    over.set()
    for thread in threads:
        thread.join()
    return {
        "workers": CROWD,
        "seconds": CROWD_SECONDS,
        "seconds_a_trial": CROWD_TRIAL,
        "trials": len(finished),
        "claims": len(waits),
        "claim_milliseconds": {"median": 1e3 * statistics.median(waits), "most": 1e3 * max(waits)},
        "connections": {"mean": statistics.mean(open_at_once), "most": max(open_at_once), "allowed": limit},
    }


@contextmanager
def at_work(function: Callable[..., None], jobs: int, *arguments: Any) -> Iterator[None]:
    """So many processes; each is given its number first, and one thread."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=function, args=(number, *arguments)) for number in range(jobs)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(number: int, url: str, name: str, folder: Path) -> None:
    study = open_study(open_storage(url), name, COUNTED_AT)
    work(study, Bounds(None, time.monotonic() + 10 * COUNTED, "rounds"), folder)


def _run(number: int, finished: Any) -> None:
    for index in range(number, 100_000, len(finished)):
        run_trial(COUNTED_AT.entry(index))
        finished[number] += 1


def main(arguments: list[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=main.__doc__)
    parser.add_argument("storage", nargs="?", help="postgresql://user@host/name; else a server of its own")
    url = parser.parse_args(arguments).storage
    if url:
        record = recorded(url)
    else:
        with Server() as server:
            record = recorded(server.url("bench"))
    record["command"] = without_password(f"python -m benchmarks.queue {' '.join(arguments)}".strip())
    kind = record["versions"]["database"].split()[0]
    target = "queue" if kind == "postgresql" else f"queue-{kind}"
    print(write_atomically(f"results/search/{target}.json", json.dumps(record, indent=1) + "\n"))
    return 0


def recorded(url: str) -> dict[str, Any]:
    """What `run` measures on that storage, with date, device and versions."""
    engine = open_storage(url).database.engine
    with engine.connect() as connection:
        server = ".".join(map(str, connection.dialect.server_version_info or ()))
    versions = {
        "stl_algebra": __version__,
        "optuna": optuna.__version__,
        "sqlalchemy": sqlalchemy.__version__,
        "database": f"{engine.dialect.name} {server}",
    }
    if engine.dialect.name == "postgresql":
        versions["psycopg"] = version("psycopg")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"cpu {platform.machine()}, {os.cpu_count()} cores, database on the same machine",
        "versions": versions,
        "results": run(url),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
