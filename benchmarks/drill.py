"""What a study on PostgreSQL must bear, at full length: workers killed, the storage away for a minute.

`python -m benchmarks.drill` starts a server of its own. One worker of the command line goes on while another
is killed with all its processes, twenty times at random moments; in between the server is gone for a
minute. What was found is then compared with the same plan worked off by one process that nothing happened
to, and written to results/search/drill.json. It takes ten minutes. The tests do the same shorter.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.postgres import Server
from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_search.frontier.winners import choose_winners
from stl_search.study.opened import Study
from stl_search.study.plan import Settings
from stl_search.study.queue import queue_up_to, set_goal
from stl_search.study.results import finished_algorithms, finished_totals, progress
from stl_search.study.signature import is_gone
from stl_search.study.storage import open_storage, open_study
from stl_search.study.tables import ENTRIES, FOUND, IS_RUNNING
from stl_search.study.work import Bounds, work

SETTINGS = Settings(("S3",), "2", 6)
NAME = "stl-drill"
_WORKER = [sys.executable, "-c", "from stl_search.cli import main; main()", "worker"]
#: Every other worker is killed within so many seconds after its start, while it imports, opens and claims;
#: the others within so many after they have begun a trial.
_KILLED_STARTING, _KILLED_WORKING = 12.0, 2.0


def planned(url: str, entries: int) -> Study:
    """The study of the drill, to be worked off."""
    study = open_study(open_storage(url), NAME, SETTINGS)
    set_goal(study, entries, None, "stride")
    queue_up_to(study, entries)
    return study


class Worker:
    """`stl-search worker` in a group of processes of its own, which is killed as a whole."""

    def __init__(self, study: Study, folder: Path) -> None:
        self._process = subprocess.Popen(
            [*_WORKER, "--storage", study.database.url, "--study", NAME, "--out", folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def kill(self) -> None:
        """As a machine dies: none of its processes can do anything any more."""
        if self.is_at_work():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> int:
        """Its exit code."""
        return self._process.wait()

    def is_at_work(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None


def run(server: Server, *, kills: int, away: float, entries: int, seed: int) -> dict[str, Any]:
    """The drill; every count that should be zero is in the result, and so are those that should not."""
    study = planned(server.url("drill"), entries)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steady = Worker(study, folder)
        try:
            killed = _killed(study, folder, server, steady, kills=kills, away=away, rng=random.Random(seed))
            code = steady.wait()
        finally:
            steady.kill()
        kept = len(list(folder.glob("unsent/*.json")))
        whole = planned(f"sqlite:///{folder / 'whole.db'}", entries)
        work(whole, Bounds(entries), folder)
        totals, expected = finished_totals(study), finished_totals(whole)
        winners = [choose_winners(finished_algorithms(s, entries), SETTINGS.dtype) for s in (study, whole)]
        return {
            "entries": entries,
            "kills": kills,
            "seconds_away": away,
            **killed,
            "exit_code_of_the_other_worker": code,
            "finished": len(totals),
            "counted_more_than_once": progress(study).finished - len(totals) + _found_twice(study),
            "results_left_unsent": kept,
            "totals_as_never_interrupted": totals == expected,
            "winners_as_never_interrupted": winners[0] == winners[1],
        }


def _killed(
    study: Study, folder: Path, server: Server, steady: Worker, *, kills: int, away: float, rng: random.Random
) -> dict[str, Any]:
    """Kill so many workers, take the server away after half of them; what was seen meanwhile."""
    in_a_trial, changed, there_after = 0, 0, True
    seen: dict[int, float | None] = {}
    for number in range(kills):
        victim = Worker(study, folder)
        if number % 2:
            while _running(study) < 2 and steady.is_at_work():
                time.sleep(0.05)
        time.sleep(rng.uniform(0.0, _KILLED_WORKING if number % 2 else _KILLED_STARTING))
        held = _running(study)
        victim.kill()
        in_a_trial += held > 1
        now = finished_totals(study)
        changed += sum(index not in now or now[index] != value for index, value in seen.items())
        seen = now
        print(f"killed {number + 1}, {len(seen)} finished", file=sys.stderr)
        if number == kills // 2 and away:
            server.stop()
            time.sleep(away)
            server.start()
            there_after = steady.is_at_work()
    return {
        "in_a_trial_when_killed": in_a_trial,
        "finished_at_the_last_kill": len(seen),
        "lost_or_changed_between_kills": changed,
        "worker_outlived_the_absence": there_after,
    }


def _running(study: Study) -> int:
    """Trials whose worker is alive."""
    lines = study.database.rows(select(ENTRIES.c.worker).where(IS_RUNNING))
    return sum(not is_gone(worker) for (worker,) in lines)


def _found_twice(study: Study) -> int:
    """First results of entries beyond the entries that have one."""
    firsts = select(func.count(), func.count(FOUND.c.entry.distinct())).where(FOUND.c.place == 0)
    lines, distinct = study.database.rows(firsts)[0]
    return int(lines) - int(distinct)


def main(arguments: list[str]) -> int:
    """Run the drill and write what came of it; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=60.0, help="seconds")
    parser.add_argument("--entries", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with Server() as server:
        results = run(server, **vars(given))
    record = {
        "command": shlex.join(["python", "-m", "benchmarks.drill", *arguments]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"cpu {platform.machine()}, {os.cpu_count()} cores, database on the same machine",
        "versions": {"stl_algebra": __version__},
        "results": results,
    }
    print(write_atomically("results/search/drill.json", json.dumps(record, indent=1) + "\n"))
    bad = (
        results["lost_or_changed_between_kills"]
        or results["counted_more_than_once"]
        or results["finished"] != results["entries"]
        or not (results["totals_as_never_interrupted"] and results["winners_as_never_interrupted"])
    )
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
