"""Keeping worker processes at work: how many run, what dead ones leave, when to give up; none is started."""

import pytest

from stl_algebra.errors import Unavailable
from stl_algebra.exact.catalogue import strassen
from stl_search.study import workers as module
from stl_search.study.database import StorageLost
from stl_search.study.plan import Settings
from stl_search.study.queue import claim, queue_up_to, renew
from stl_search.study.results import finish, finished_totals
from stl_search.study.signature import place
from stl_search.study.storage import open_storage, open_study
from stl_search.study.work import Bounds
from stl_search.trials.trial import Outcome

pytestmark = pytest.mark.slow

SETTINGS = Settings((), "2", 7, families=("known", "random"))


class Process:
    """A worker that lives until it is told how it ended."""

    def __init__(self, target, args, daemon):
        self.arguments, self.exitcode, self.daemon = args, None, daemon

    def start(self):
        assert self.daemon

    def is_alive(self):
        return self.exitcode is None


class Context:
    Process = Process


@pytest.fixture
def study(tmp_path):
    return open_study(open_storage(f"sqlite:///{tmp_path / 'study.db'}"), "stl-workers", SETTINGS)


def replaced(workers, study, tmp_path, *, trials=None, jobs=2):
    bounds = Bounds(trials)
    task = module.Task(study.database.url, study.name, SETTINGS, tmp_path, bounds)
    module._replace_ended(workers, Context, task, jobs, study)
    return workers


def test_as_many_run_as_asked_for_but_not_more_than_there_is_to_do(study, tmp_path):
    queue_up_to(study, 3)
    assert len(replaced([], study, tmp_path, trials=3, jobs=2)) == 2
    assert len(replaced([], study, tmp_path, trials=3, jobs=9)) == 3
    workers = replaced([], study, tmp_path, trials=3, jobs=2)
    assert replaced(list(workers), study, tmp_path, trials=3, jobs=2) == workers


def test_a_worker_that_died_is_replaced_and_its_entry_waits_again(study, tmp_path, monkeypatch):
    queue_up_to(study, 1)
    workers = replaced([], study, tmp_path, trials=1, jobs=1)
    monkeypatch.setattr("stl_search.study.queue.sign", lambda: f"{place()}:999999999:1")
    lost = claim(study)
    assert claim(study) is None
    workers[0].exitcode = -9
    assert len(replaced(workers, study, tmp_path, trials=1, jobs=1)) == 2
    again = claim(study)
    assert again.index == lost.index == 0
    assert again.token != lost.token


def test_workers_that_keep_dying_end_the_run(study, tmp_path):
    queue_up_to(study, 5)
    workers = []
    for _ in range(5):
        replaced(workers, study, tmp_path, trials=5, jobs=1)
        workers[-1].exitcode = 1
    with pytest.raises(Unavailable, match="keep dying"):
        replaced(workers, study, tmp_path, trials=5, jobs=1)


def test_a_worker_whose_storage_is_away_for_good_ends_the_run_at_once(study, tmp_path):
    queue_up_to(study, 5)
    workers = replaced([], study, tmp_path, trials=5, jobs=2)
    workers[0].exitcode = module._LOST
    with pytest.raises(StorageLost, match="unsent") as caught:
        replaced(workers, study, tmp_path, trials=5, jobs=2)
    assert caught.value.exit_code == 1


def test_the_state_is_what_the_storage_says(study):
    assert module._state(study, 0.0).best is None
    queue_up_to(study, 3)
    for index, value in enumerate((0.5, 0.25)):
        finish(study, index, Outcome((strassen(),), (value,)), 1.0)
    finish(study, 2, "no candidate", 1.0)
    state = module._state(study, 0.0)
    assert (state.finished, state.best) == (3, 0.25)
    assert finished_totals(study) == {0: 0.5, 1: 0.25, 2: None}


def test_the_state_names_what_runs_with_its_stage(study):
    queue_up_to(study, 1)
    assert module._state(study, 0.0).running == ()
    claimed = claim(study)
    assert module._state(study, 0.0).running == ("known",)
    assert renew(study, claimed, "prune 3/17")
    assert module._state(study, 0.0).running == ("known prune 3/17",)
    finish(study, claimed.index, "no candidate", 1.0)
    assert module._state(study, 0.0).running == ()
