"""A study as it stands: what is shown is what was finished, on every kind of storage."""

import json
import os
import re
from types import SimpleNamespace

import pytest

from stl_algebra.exact.catalogue import strassen
from stl_search.cli import watch as command
from stl_search.frontier.winners import choose_winners
from stl_search.study.plan import Settings
from stl_search.study.queue import claim, queue_up_to, renew, set_goal
from stl_search.study.results import finish, finished_algorithms
from stl_search.study.run_folder import Run, start_run
from stl_search.study.storage import open_storage, open_study
from stl_search.study.watching import overview
from stl_search.trials.trial import Outcome, run_trial
from tests.search.cli.calling import call

pytestmark = pytest.mark.slow


def found(*totals):
    return Outcome((strassen(),) * len(totals), totals)


def test_an_empty_study_is_shown_as_such(fresh):
    now = overview(fresh)
    assert (now.finished, now.ranks, now.running) == (0, (), ())
    assert {(arm.family, arm.group) for arm in now.arms} == set(fresh.settings.arms())
    assert all(arm.best is arm.gain is None for arm in now.arms)
    assert now.is_done, "nobody has asked for anything"


def test_arms_say_what_they_cost_and_what_would_be_lost_without_them(fresh):
    first, second, third = fresh.settings.arms()
    set_goal(fresh, 5, None, "stride")
    queue_up_to(fresh, 5)
    finish(fresh, 0, found(0.5), 2.0)
    finish(fresh, 1, found(0.25), 3.0)
    finish(fresh, 3, found(0.4), 4.0)
    finish(fresh, 2, "no candidate", 0.5)
    claimed = claim(fresh)
    assert renew(fresh, claimed, "prune 3/9")
    now = overview(fresh)
    arms = {(arm.family, arm.group): arm for arm in now.arms}
    assert [(arm.family, arm.group) for arm in now.arms] == [second, first, third]
    assert (arms[first].finished, arms[first].seconds, arms[first].best) == (2, 6.0, 0.4)
    assert arms[first].gain == pytest.approx(1 - 0.4 / 0.25)
    assert arms[second].gain == pytest.approx(1 - 0.25 / 0.4)
    assert (arms[third].finished, arms[third].without_candidate, arms[third].gain) == (0, 1, None)
    assert [(line.rank, line.total, (line.family, line.group)) for line in now.ranks] == [(7, 0.25, second)]
    assert arms[second].leads == (7,)
    assert now.finished == 4
    (busy,) = now.running
    assert (busy.stage, (busy.family, busy.group)) == ("prune 3/9", fresh.settings.arm(claimed.index))
    assert busy.machine == os.uname().nodename
    assert arms[fresh.settings.arm(claimed.index)].running == 1
    assert not now.is_done
    finish(fresh, claimed.index, "no candidate", 0.5)
    assert overview(fresh).is_done


@pytest.mark.slow
def test_ranks_are_those_that_would_win(tmp_path):
    plan = Settings(("S3",), "2", 6, families=("known", "orbits"))
    study = open_study(open_storage(f"sqlite:///{tmp_path / 'study.db'}"), "stl-plan", plan)
    for index in range(3):
        finish(study, index, run_trial(plan.entry(index)), 1.0)
    winners = choose_winners(finished_algorithms(study), plan.dtype)
    ranks = overview(study).ranks
    assert [line.rank for line in ranks] == list(winners)
    for line in ranks:
        # An exact algorithm may win with a total that is a little larger.
        assert line.total <= winners[line.rank].scores.total(plan.dtype) * (1 + 1e-12)


def test_the_command_shows_the_study_of_a_folder_or_of_a_storage(tmp_path):
    run = Run(tmp_path, Settings((), "2", 7, families=("known", "random")), (), "", "command")
    assert call("watch", tmp_path / "nowhere").exit_code == 2
    assert call("watch").exit_code == 2
    start_run(run)
    assert "without" in call("watch", tmp_path).stderr
    study = open_study(open_storage(run.storage_url), run.study_name, run.settings)
    finish(study, 0, found(0.125), 4000.0)
    shown = call("watch", tmp_path, "--once")
    assert shown.exit_code == 0, shown.output
    assert re.search(r"7 +0\.125 .*known", shown.stdout)
    assert "1 h 7 min" in shown.stdout
    named = ["--storage", run.storage_url, "--study", run.study_name]
    document = json.loads(call("watch", *named, "--json").stdout)
    assert (document["finished"], document["done"]) == (1, True)
    assert document["arms"][0]["best"] == 0.125
    assert call("watch", tmp_path, *named).exit_code == 2


def test_watching_ends_with_the_study(tmp_path, monkeypatch):
    run = Run(tmp_path, Settings((), "2", 7, families=("known", "random")), (), "", "command")
    start_run(run)
    study = open_study(open_storage(run.storage_url), run.study_name, run.settings)
    set_goal(study, 2, None, "stride")
    queue_up_to(study, 2)
    finish(study, 0, "no candidate", 1.0)
    # A worker gives the last result between two looks.
    clock = SimpleNamespace(sleep=lambda seconds: finish(study, 1, found(0.5), 1.0))
    monkeypatch.setattr(command, "time", clock)
    monkeypatch.setattr(command.out, "_force_terminal", True)
    shown = call("watch", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert overview(study).is_done


def test_durations_and_spans_are_read_at_a_glance():
    assert [command._duration(s) for s in (0, 45, 300, 18600, 187200)] == [
        "0 s", "45 s", "5 min", "5 h 10 min", "2 d 4 h",
    ]  # fmt: skip
    assert command._spans((16, 17, 18, 40)) == "16-18, 40"
