"""Workers of a study on a real PostgreSQL: killed, cut off from it, joined; the winners stay the same.

The same at full length, with workers from the command line and an absence of a minute: `benchmarks.drill`.
"""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time

import pytest
from sqlalchemy import func, select

from stl_algebra.errors import NoCandidate
from stl_algebra.exact.catalogue import strassen
from stl_search.cli import main
from stl_search.frontier.winners import choose_winners
from stl_search.study import work as work_module
from stl_search.study.plan import Settings
from stl_search.study.queue import queue_up_to, set_goal
from stl_search.study.results import (
    finished_algorithms,
    finished_totals,
    progress,
    trial_table,
)
from stl_search.study.storage import join_study, open_storage, open_study
from stl_search.study.tables import ENTRIES, FOUND, IS_RUNNING
from stl_search.study.work import Bounds, work
from stl_search.trials.trial import Outcome
from tests.search.cli.calling import call

PLAN = Settings((), "2", 7, families=("known", "random"))
#: Trials of a twentieth of a second and more.
SMALL = Settings((), "1x2x2", 3, families=("known", "random"))
#: Trials of a second or more.
LONG = Settings((), "2x3x3", 14, families=("known",))
#: Copies of this process: at work at once, as workers that import everything first are not.
FORK = multiprocessing.get_context("fork")


def planned(url, count, plan=PLAN):
    """A plan that is to be worked off."""
    made = open_study(open_storage(url), "stl-machines", plan)
    set_goal(made, count, None, "stride")
    queue_up_to(made, count)
    return made


@contextlib.contextmanager
def started(function, *arguments):
    """A process at work; ended with the test, whatever becomes of it."""
    process = FORK.Process(target=function, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def worker(url, folder, count):
    work(join_study(open_storage(url), "stl-machines"), Bounds(count), folder)


def short_trial(entry, command="", progress=None):
    """In place of a trial: up to a tenth of a second, and a total that the entry decides."""
    time.sleep(0.02 + entry.seed % 64 / 800)
    if entry.seed % 5 == 0:
        raise NoCandidate("none")
    return Outcome((strassen(),), (entry.seed / 2**32,))


def short_worker(url, folder, count):
    work_module.run_trial = short_trial
    worker(url, folder, count)


def command_line(folder, arguments):
    """`stl-search ARGUMENTS`, what it says in files."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    main([str(a) for a in arguments], prog_name="stl-search")


def until(condition):
    """Wait for it; the time limit of the tests ends what never comes."""
    while not condition():
        time.sleep(0.01)


def busy(study):
    """The workers that have an entry."""
    return [worker for (worker,) in study.database.rows(select(ENTRIES.c.worker).where(IS_RUNNING))]


def has_entry(study, process):
    """Whether a process is at a trial."""
    return any(f":{process.pid}:" in worker for worker in busy(study))


@pytest.mark.slow
def test_a_worker_killed_twenty_times_costs_no_result_and_none_counts_twice(server, tmp_path):
    # More entries than twenty kills leave time for: nobody ends by himself.
    count, rng = 250, random.Random(5)
    study = planned(server.url("killed20"), count)
    arguments = (short_worker, study.database.url, tmp_path, count)
    with started(*arguments) as steady:
        seen, working = {}, 0
        for _ in range(20):
            with started(*arguments) as victim:
                # Killed while it has its first entry or soon after, in a trial or between two.
                until(lambda victim=victim: has_entry(study, victim) or not victim.is_alive())
                time.sleep(rng.random() / 6)
                working += has_entry(study, victim)
                os.kill(victim.pid, signal.SIGKILL)
            now = finished_totals(study)
            assert {index: now[index] for index in seen} == seen
            seen = now
        assert working > 3, "they are killed in the middle of a trial"
        # What they left is for those who look after it, here one more worker and the one that goes on.
        with started(*arguments) as helper:
            steady.join()
            helper.join()
        assert steady.exitcode == helper.exitcode == 0
    expected = {}
    for index in range(count):
        seed = PLAN.entry(index).seed
        expected[index] = None if seed % 5 == 0 else seed / 2**32
    assert finished_totals(study) == expected
    table = trial_table(study)
    assert progress(study).finished == table["finished"] + table["without_candidate"] == count
    with study.database.engine.connect() as connection:
        found = connection.scalar(select(func.count()).select_from(FOUND))
    assert found == table["finished"]
    shown = [t.user_attrs["index"] for t in study.optuna.get_trials(deepcopy=False)]
    assert len(shown) == len(set(shown))


@pytest.mark.slow
def test_a_study_continued_after_kills_ends_with_the_winners_of_one_never_interrupted(server, tmp_path):
    count, rng = 12, random.Random(3)
    whole = planned(server.url("whole"), count, SMALL)
    work(whole, Bounds(count), tmp_path)
    study = planned(server.url("continued"), count, SMALL)
    for _ in range(3):
        before = progress(study).finished
        with started(worker, study.database.url, tmp_path, count) as victim:
            until(lambda before=before: progress(study).finished > before)
            time.sleep(rng.random() / 10)
            os.kill(victim.pid, signal.SIGKILL)
    assert progress(study).finished < count
    work(study, Bounds(count), tmp_path)
    assert finished_totals(study) == finished_totals(whole)
    ends = [choose_winners(finished_algorithms(s, count), SMALL.dtype) for s in (study, whole)]
    assert ends[0] == ends[1] != {}


@pytest.mark.slow
def test_while_the_storage_is_away_workers_wait_and_go_on(server, tmp_path):
    count = 24
    study = planned(server.url("away"), count)
    with started(short_worker, study.database.url, tmp_path, count) as process:
        until(lambda: progress(study).finished)
        server.stop()
        time.sleep(1)
        assert process.is_alive()
        server.start()
        process.join()
        assert process.exitcode == 0
    assert set(finished_totals(study)) == set(range(count))
    assert not list(tmp_path.glob("unsent/*.json"))


@pytest.mark.slow
def test_a_storage_away_for_good_ends_the_worker_with_one_line_and_what_it_found_is_sent_later(
    server, tmp_path
):
    study = planned(server.url("lost"), 1, LONG)
    arguments = ["worker", "--storage", study.database.url, "--study", "stl-machines", "--out", tmp_path]
    with started(command_line, tmp_path, [*arguments, "--patience", "1s"]) as process:
        until(lambda: busy(study))
        server.stop()
        process.join()
        assert process.exitcode == 1
    try:
        lines = (tmp_path / "err").read_text().splitlines()
        assert [line for line in lines if line.startswith("error: ")] == [
            line for line in lines if "trials, best total" not in line
        ]
        assert len(lines) == 1
        assert not (tmp_path / "out").read_text()
        (kept,) = [json.loads(path.read_text()) for path in tmp_path.glob("unsent/*.json")]
    finally:
        server.start()
    assert not finished_totals(study)
    again = call(*arguments)
    assert again.exit_code == 0, again.output
    assert finished_totals(study) == {0: kept["totals"][0]}
    assert not list(tmp_path.glob("unsent/*.json"))


@pytest.mark.slow
def test_workers_name_what_they_cannot_join(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    missing = call("worker", "--storage", url, "--study", "stl-none")
    assert missing.exit_code == 2
    assert "stl-none" in missing.output
    open_study(open_storage(url), "stl-there", PLAN)
    assert "stl-there" in call("worker", "--storage", url, "--study", "stl-none").output
    assert call("worker", "--storage", "study.db", "--study", "x").exit_code == 2
    # Nobody has asked for anything: nothing is done.
    done = call("worker", "--storage", url, "--study", "stl-there", "--json")
    assert json.loads(done.stdout) == {"study": "stl-there", "finished": 0, "since_start": 0}
