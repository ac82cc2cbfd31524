"""Workers of a study on a real PostgreSQL: killed, cut off from it, joined; the winners stay the same."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import func, select

from stl_algebra import load_encoders
from stl_algebra.errors import NoCandidate
from stl_algebra.exact.catalogue import strassen
from stl_search.study import work as work_module
from stl_search.study.plan import Settings
from stl_search.study.queue import queue_up_to, set_goal
from stl_search.study.results import finished_totals, progress, trial_table
from stl_search.study.storage import join_study, open_storage, open_study
from stl_search.study.tables import ENTRIES, FOUND, IS_RUNNING
from stl_search.study.work import Bounds, work
from stl_search.trials.trial import Outcome
from tests.search.cli.calling import call
from tests.search.study.postgres import Server

PLAN = Settings((), "2", 7, families=("known", "random"))
COUNT = 24
#: Trials of a second or more.
LONG = Settings((), "2x3x3", 14, families=("known",))


def started(url, folder, *options):
    """A worker in a process of its own."""
    command = [sys.executable, "-c", "from stl_search.cli import main; main()", "worker", "--storage", url]
    return subprocess.Popen(
        [*command, "--study", "stl-machines", "--out", folder, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def study(server, request):
    """A plan on PostgreSQL that is to be worked off."""
    return planned(server.url(request.node.name[:40]), COUNT)


def planned(url, count, plan=PLAN):
    made = open_study(open_storage(url), "stl-machines", plan)
    set_goal(made, count, None, "stride")
    queue_up_to(made, count)
    return made


def short_trial(entry, command="", progress=None):
    """In place of a trial: some tenths of a second, and a total that the entry decides."""
    time.sleep(0.1 + entry.seed % 64 / 320)
    if entry.seed % 5 == 0:
        raise NoCandidate("none")
    return Outcome((strassen(),), (entry.seed / 2**32,))


def short_worker(url, folder, count):
    work_module.run_trial = short_trial
    work(join_study(open_storage(url), "stl-machines"), Bounds(count), folder)


@pytest.mark.slow
def test_a_worker_killed_twenty_times_costs_no_result_and_none_counts_twice(server, tmp_path):
    count, rng = 250, random.Random(5)
    study = planned(server.url("killed20"), count)
    # Copies of this process: at work at once, and killed anywhere in a trial and between trials.
    context = multiprocessing.get_context("fork")
    arguments = (study.database.url, tmp_path, count)
    steady = context.Process(target=short_worker, args=arguments)
    steady.start()
    seen, working = {}, 0
    for _ in range(20):
        victim = context.Process(target=short_worker, args=arguments)
        victim.start()
        # Killed while it has its first entry or soon after, in a trial or between two.
        while not has_entry(study, victim) and victim.is_alive():
            time.sleep(0.01)
        time.sleep(rng.random() / 2)
        working += has_entry(study, victim)
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        now = finished_totals(study)
        assert {index: now[index] for index in seen} == seen
        seen = now
    assert working > 5, "most are killed in the middle of a trial"
    # What they left is for those who look after it, here the one that goes on.
    steady.join()
    assert steady.exitcode == 0
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


def has_entry(study, process):
    """Whether a process is at a trial."""
    return any(f":{process.pid}:" in worker for worker in busy(study))


def busy(study):
    """The workers that have an entry."""
    return [worker for (worker,) in study.database.rows(select(ENTRIES.c.worker).where(IS_RUNNING))]


@pytest.mark.slow
def test_while_the_storage_is_away_workers_wait_and_go_on(study, tmp_path, server):
    worker = started(study.database.url, tmp_path)
    for _ in range(1000):
        if progress(study).finished:
            break
        time.sleep(0.05)
    server.stop()
    time.sleep(5)
    assert worker.poll() is None
    server.start()
    assert worker.wait(200) == 0, worker.stderr.read()
    assert set(finished_totals(study)) == set(range(COUNT))
    assert not list(tmp_path.glob("unsent/*.json"))


@pytest.mark.slow
def test_a_storage_away_for_good_ends_the_worker_with_one_line_and_what_it_found_is_sent_later(tmp_path):
    own = Server()
    try:
        study = planned(own.url("away"), 2, LONG)
        worker = started(study.database.url, tmp_path, "--patience", "2s")
        for _ in range(1000):
            if busy(study):
                break
            time.sleep(0.05)
        own.stop()
        printed, errors = worker.communicate(timeout=100)
        assert worker.returncode == 1, errors
        lines = [line for line in errors.splitlines() if not line.endswith(tuple("0123456789"))]
        assert len(lines) == 1, errors
        assert lines[0].startswith("error: ")
        assert not printed
        kept = [json.loads(path.read_text()) for path in tmp_path.glob("unsent/*.json")]
        assert kept, "the trial under way was finished and kept"
        own.start()
        before = finished_totals(study)
        assert not {data["entry"] for data in kept} & set(before)
        again = started(study.database.url, tmp_path)
        assert again.wait(200) == 0, again.stderr.read()
        totals = finished_totals(study)
        assert set(totals) == {0, 1}
        for data in kept:
            assert totals[data["entry"]] == data.get("totals", [None])[0]
        assert not list(tmp_path.glob("unsent/*.json"))
    finally:
        own.close()


@pytest.mark.slow
def test_a_run_continued_after_a_kill_ends_with_the_winners_of_one_never_interrupted(server, tmp_path):
    small = [
        "run",
        "--group",
        "S3",
        "--tile",
        "2",
        "--rank",
        "6",
        "--matrices",
        "rademacher",
        "--trials",
        "40",
    ]
    whole = call(*small, "--storage", server.url("whole"), "--out", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    url = server.url("killed")
    arguments = [*small, "--storage", url, "--out", tmp_path / "killed"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from stl_search.cli import main; main()", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(12)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    outcome = call(*arguments)
    assert outcome.exit_code == 0, outcome.output

    def winners(folder):
        return {p.name: load_encoders(p).algorithm for p in (folder / "encoders").glob("*.safetensors")}

    assert winners(tmp_path / "killed") == winners(tmp_path / "whole")


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
