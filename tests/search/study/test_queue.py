"""The contract of the queue on every kind of storage: claims, leases, first results, nothing read twice."""

import json
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy import func, select, text, update

from stl_algebra.algorithms.encoders_file import encode_algorithm
from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.exact.catalogue import strassen
from stl_search.study import lease as lease_module
from stl_search.study import showing, work
from stl_search.study.database import StorageLost
from stl_search.study.plan import Settings
from stl_search.study.queue import (
    begin_next,
    claim,
    goal,
    queue_up_to,
    release_abandoned,
    renew,
    set_goal,
)
from stl_search.study.results import (
    finish,
    finished_algorithms,
    finished_totals,
    progress,
    trial_table,
    unfinished,
)
from stl_search.study.signature import is_gone, place, sign
from stl_search.study.storage import join_study, open_storage, open_study
from stl_search.study.strategies.base import strategy
from stl_search.study.tables import ALGORITHMS, ENTRIES, FOUND, LEASE
from stl_search.study.unsent import send, send_rest
from stl_search.trials.trial import Outcome

pytestmark = pytest.mark.slow


def outcome(*totals):
    return Outcome((strassen(),) * len(totals), totals)


def run_out(study, *indices):
    """As if the storage had not heard of those entries' workers for a lease, and had been there all along."""
    with study.database.engine.begin() as connection:
        connection.execute(
            update(ENTRIES).where(ENTRIES.c.entry.in_(indices)).values(lease=study.database.now - 1)
        )


@pytest.fixture
def long_up(monkeypatch):
    """A server that has run for longer than a lease."""
    from stl_search.study.database import Database

    always = sqlalchemy.literal_column("0.0", sqlalchemy.Float)
    monkeypatch.setattr(Database, "up_since", property(lambda self: always))


def test_each_entry_is_claimed_once_by_however_many_at_a_time(fresh):
    queue_up_to(fresh, 40)

    def worker(_):
        claims = []
        while (claimed := claim(fresh)) is not None:
            claims.append(claimed.index)
        return claims

    with ThreadPoolExecutor(4) as pool:
        claims = [index for each in pool.map(worker, range(4)) for index in each]
    assert sorted(claims) == list(range(40))


def test_runs_by_time_begin_each_entry_once_however_many_choose_at_a_time(fresh):
    choose = strategy("stride")
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: begin_next(fresh, choose).index, range(24)))
    assert len(set(claims)) == 24


def test_claims_keep_to_the_limit_and_to_the_order_of_the_plan(fresh):
    queue_up_to(fresh, 5)
    queue_up_to(fresh, 3)
    assert [claim(fresh, 3).index for _ in range(3)] == [0, 1, 2]
    assert claim(fresh, 3) is None
    assert claim(fresh).index == 3
    assert unfinished(fresh, 5, 9) == 5


def test_an_entry_is_claimed_again_when_its_lease_has_run_out_and_never_before(fresh, long_up):
    queue_up_to(fresh, 2)
    first, second = claim(fresh), claim(fresh)
    assert claim(fresh) is None
    run_out(fresh, first.index)
    assert renew(fresh, first)
    assert claim(fresh) is None
    run_out(fresh, first.index)
    again = claim(fresh)
    assert (again.index, claim(fresh)) == (first.index, None)
    assert not renew(fresh, first)
    assert renew(fresh, second)
    assert renew(fresh, again)


@pytest.mark.slow
def test_no_lease_runs_out_while_the_storage_could_not_be_reached(fresh, server):
    queue_up_to(fresh, 1)
    first = claim(fresh)
    if fresh.database.is_postgres:
        # The server of the tests was started less than a lease ago, or is started again.
        server.stop()
        server.start()
        run_out(fresh, first.index)
        assert claim(fresh) is None
    else:
        fresh.database.returned = time.monotonic()
        run_out(fresh, first.index)
        assert claim(fresh) is None
        fresh.database.returned -= LEASE + 1
        assert claim(fresh).index == first.index


def test_a_thread_keeps_the_lease_of_a_long_trial(fresh, long_up):
    queue_up_to(fresh, 1)
    claimed = claim(fresh)
    with lease_module.Lease(fresh, claimed, every=0.05) as lease:
        lease.stage("refine", 3, 9)
        for _ in range(3):
            run_out(fresh, claimed.index)
            # Until then another worker might have taken it; from then on none can.
            while fresh.database.rows(select(ENTRIES.c.lease - fresh.database.now))[0][0] < 0:
                time.sleep(0.02)
            assert claim(fresh) is None
        assert progress(fresh).running == ("orbits S3 refine 3/9",)
    assert not any(thread.name == "lease" for thread in threading.enumerate())


def test_the_first_result_counts_and_is_written_once(fresh, long_up):
    queue_up_to(fresh, 1)
    slow = claim(fresh)
    run_out(fresh, 0)
    claim(fresh)
    assert finish(fresh, 0, outcome(0.25, 0.5), 2.0)
    assert not finish(fresh, slow.index, outcome(0.125), 9.0)
    assert not finish(fresh, slow.index, "no candidate", 9.0)
    assert not renew(fresh, slow)
    assert progress(fresh) == progress(fresh).__class__(1, 0.25, ())
    assert finished_totals(fresh) == {0: 0.25}
    assert [(i, t) for i, t, _ in finished_algorithms(fresh)] == [(0, 0.25)]
    assert trial_table(fresh)["finished"] == 1
    with fresh.database.engine.connect() as connection:
        count = {t: connection.scalar(select(func.count()).select_from(t)) for t in (FOUND, ALGORITHMS)}
    assert count == {FOUND: 2, ALGORITHMS: 1}


def test_two_workers_finish_the_same_entries_at_once_and_each_counts_once(fresh):
    queue_up_to(fresh, 20)
    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(lambda i: finish(fresh, i % 20, outcome(0.5), 1.0), range(60)))
    assert sum(counted) == progress(fresh).finished == 20


def test_what_can_win_is_read_again_bit_for_bit_with_its_own_provenance(fresh):
    named = strassen().renamed("other", strassen().provenance)
    finish(fresh, 0, Outcome((strassen(),), (0.0,)), 1.0)
    finish(fresh, 7, Outcome((named,), (0.0,)), 1.0)
    finish(fresh, 9, outcome(0.3), 1.0)
    found = list(finished_algorithms(fresh))
    assert [(index, a.name) for index, _, a in found] == [(0, strassen().name), (7, "other")]
    assert all(a == strassen() and a.provenance == strassen().provenance for _, _, a in found)
    assert [index for index, _, _ in finished_algorithms(fresh, 5)] == [0]


def test_entries_of_ended_processes_of_this_machine_wait_again_at_once(fresh, monkeypatch):
    queue_up_to(fresh, 3)
    claim(fresh)
    for signature in (f"{place()}:999999999:1", "elsewhere:999999999:1"):
        monkeypatch.setattr("stl_search.study.queue.sign", lambda signature=signature: signature)
        claim(fresh)
    assert release_abandoned(fresh) == 1
    assert (claim(fresh).index, claim(fresh)) == (1, None)


def test_a_process_is_gone_when_it_has_ended_and_when_its_number_is_anothers():
    assert not is_gone(sign())
    assert is_gone(sign() + "1")
    assert not is_gone("elsewhere:1:1")
    assert not is_gone("")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(f"{place()}:{ended.pid}:5")


def test_goals_only_grow(fresh):
    assert goal(fresh).trials is None
    assert goal(fresh).seconds < 0
    set_goal(fresh, 7, None, "stride")
    set_goal(fresh, 4, None, "stride")
    set_goal(fresh, None, 500.0, "rounds")
    set_goal(fresh, None, 100.0, "stride")
    assert (goal(fresh).trials, goal(fresh).strategy) == (7, "rounds")
    assert 400 < goal(fresh).seconds <= 500


def test_finished_entries_are_trials_for_optuna_once_each(fresh):
    for index, result in enumerate((outcome(0.5), "no candidate", outcome(0.25))):
        finish(fresh, index, result, 1.5)
    showing.show(fresh, 0)
    showing.show_rest(fresh)
    assert len(fresh.optuna.trials) == 1, "their own workers come first"
    # One was added by a worker that did not live to say so.
    showing._add(fresh, 1, None, "no candidate", 1.5)
    with fresh.database.engine.begin() as connection:
        connection.execute(update(ENTRIES).where(ENTRIES.c.entry == 1).values(shown=False))
    run_out(fresh, 0, 1, 2)
    showing.show_rest(fresh)
    showing.show_rest(fresh)
    trials = fresh.optuna.trials
    assert {t.user_attrs["index"]: t.value for t in trials} == {0: 0.5, 1: None, 2: 0.25}
    assert [t.params["family"] for t in trials] == [
        fresh.settings.arm(t.user_attrs["index"])[0] for t in trials
    ]
    assert len(trials) == 3
    assert "factors" not in json.dumps([t.user_attrs for t in trials])


def test_an_interrupted_trial_waits_again(fresh, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "run_trial", interrupted)
    queue_up_to(fresh, 1)
    with pytest.raises(KeyboardInterrupt):
        work.run_claim(fresh, claim(fresh), tmp_path)
    assert claim(fresh).index == 0


def test_what_could_not_be_sent_is_kept_and_sent_at_the_next_start_once(fresh, tmp_path, monkeypatch):
    queue_up_to(fresh, 2)
    claimed = claim(fresh)
    reached, engine = fresh.database.engine, sqlalchemy.create_engine("sqlite:////nowhere/at.all")
    fresh.database.engine, fresh.database.patience = engine, 0.0
    with pytest.raises(StorageLost, match="unsent") as caught:
        send(fresh, claimed.index, outcome(0.25), 1.0, tmp_path)
    assert caught.value.exit_code == 1
    assert len(list((tmp_path / "unsent").glob("*.json"))) == 1
    fresh.database.engine = reached
    assert send_rest(fresh, tmp_path) == 1
    assert send_rest(fresh, tmp_path) == 0
    assert finished_totals(fresh) == {0: 0.25}
    assert next(finished_algorithms(fresh))[2] == strassen()
    # Away for a moment: kept, sent, and the file is gone.
    sent = iter([StorageLost("away")])

    def later(*arguments, **options):
        for error in sent:
            raise error
        return finish(*arguments, **options)

    monkeypatch.setattr("stl_search.study.unsent.finish", later)
    assert send(fresh, 1, "no candidate", 1.0, tmp_path)
    assert not list((tmp_path / "unsent").glob("*.json"))
    (tmp_path / "unsent" / "half.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"half\.json"):
        send_rest(fresh, tmp_path)


def test_studies_of_version_one_are_brought_over_once(url):
    plan = Settings((), "2", 7, families=("known", "random"))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    old = optuna.create_study(storage=open_storage(url).optuna, study_name="stl-old")
    old.set_user_attr("settings", plan.as_json())
    old.set_user_attr("stl_study_version", 1)
    for index in (0, 1, 2, 3, 2):
        old.enqueue_trial({}, user_attrs={"index": index})
    for value in (0.25, None, 0.5):
        trial = old.ask()
        if value is None:
            trial.set_user_attr("reason", "no candidate")
            old.tell(trial, state=TrialState.PRUNED)
            continue
        trial.set_user_attr("algorithms", [encode_algorithm(strassen())])
        trial.set_user_attr("totals", [value])
        old.tell(trial, value)
    old.ask()
    for _ in range(2):
        study = open_study(open_storage(url), "stl-old", plan)
        assert finished_totals(study) == {0: 0.25, 1: None, 2: 0.5}
        assert next(finished_algorithms(study))[2] == strassen()
        queue_up_to(study, 5)
        assert unfinished(study, 5, 9) == 2
        assert len(study.optuna.trials) == 5


def test_studies_are_joined_by_name_with_their_settings(fresh, url):
    assert join_study(open_storage(url), "stl-fresh").settings == fresh.settings
    with pytest.raises(InvalidInput, match="stl-fresh"):
        join_study(open_storage(url), "stl-other")
    with pytest.raises(InvalidInput, match=r"rank.*6"):
        open_study(open_storage(url), "stl-fresh", Settings((), "2", 5))


def open_race(url, ready):
    ready.wait()
    open_study(open_storage(url), "stl-race", Settings((), "2", 7, families=("known",)))


def test_workers_that_open_an_empty_database_at_once_make_its_tables_once(url):
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(4)
    processes = [context.Process(target=open_race, args=(url, ready)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


@pytest.mark.parametrize(
    ("url", "error", "word"),
    [
        ("mysql://me:secret@host/x", InvalidInput, "sqlite"),
        ("study.db", InvalidInput, "sqlite:///study.db"),
        ("sqlite:////nowhere/at.all", Unavailable, "answer"),
    ],
)
def test_wrong_storages_are_named_without_their_password(url, error, word):
    with pytest.raises(error, match=word) as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)


def test_an_error_of_the_storage_itself_is_not_waited_for(fresh):
    with pytest.raises(Unavailable, match="fails"):
        fresh.database.transaction(lambda connection: connection.execute(text("select from where")))
