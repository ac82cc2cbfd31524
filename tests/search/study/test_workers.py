"""Keeping worker processes at work: how many run, what dead ones leave, when to give up; none is started."""

import optuna
import pytest
from optuna.trial import TrialState

from stl_algebra.errors import Unavailable
from stl_search.study import workers as module
from stl_search.study.plan import Settings
from stl_search.study.queue import finished_indices, queue_up_to
from stl_search.study.run_folder import Run

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
def study():
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, SETTINGS, (), "", "command")


def replaced(workers, run, study, *, trials=None, deadline=None, jobs=2):
    module._replace_ended(workers, Context, run, trials, deadline, jobs, study)
    return workers


def test_as_many_run_as_asked_for_but_not_more_than_there_is_to_do(run, study):
    queue_up_to(study, SETTINGS, 3)
    assert len(replaced([], run, study, trials=3, jobs=2)) == 2
    assert len(replaced([], run, study, trials=3, jobs=9)) == 3
    workers = replaced([], run, study, trials=3, jobs=2)
    assert replaced(list(workers), run, study, trials=3, jobs=2) == workers


def test_a_worker_that_died_is_replaced_and_its_entry_queued_again(run, study):
    queue_up_to(study, SETTINGS, 1)
    workers = replaced([], run, study, trials=1, jobs=1)
    trial = study.ask()
    trial.set_user_attr("worker", f"{module.os.uname().nodename}:999999999")
    workers[0].exitcode = -9
    assert len(replaced(workers, run, study, trials=1, jobs=1)) == 2
    states = [(t.state, t.user_attrs["index"]) for t in study.get_trials()]
    assert states == [(TrialState.FAIL, 0), (TrialState.WAITING, 0)]


def test_workers_that_keep_dying_end_the_run(run, study):
    queue_up_to(study, SETTINGS, 5)
    workers = []
    for _ in range(5):
        replaced(workers, run, study, trials=5, jobs=1)
        workers[-1].exitcode = 1
    with pytest.raises(Unavailable, match="keep dying"):
        replaced(workers, run, study, trials=5, jobs=1)


def test_the_state_is_what_the_storage_says(run, study):
    assert module._state(study, 0.0).best is None
    queue_up_to(study, SETTINGS, 3)
    for value in (0.5, 0.25):
        study.tell(study.ask(), value)
    study.tell(study.ask(), state=TrialState.PRUNED)
    state = module._state(study, 0.0)
    assert (state.finished, state.best) == (3, 0.25)
    assert finished_indices(study) == {0, 1, 2}


def test_the_state_names_what_runs_with_its_stage(study):
    trial = study.ask()
    assert module._state(study, 0.0).running == ()
    trial.suggest_categorical("family", ["orbits"])
    trial.suggest_categorical("group", ["S3"])
    assert module._state(study, 0.0).running == ("orbits S3",)
    trial.set_user_attr("stage", "prune 3/17")
    assert module._state(study, 0.0).running == ("orbits S3 prune 3/17",)
    study.tell(trial, 1.0)
    assert module._state(study, 0.0).running == ()
