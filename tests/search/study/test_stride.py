"""Time between the arms of a plan: everyone once, then by results; entries of the plan without repetition."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import strassen
from stl_search.study.plan import Settings
from stl_search.study.queue import begin_next, claim, queue_up_to, release
from stl_search.study.results import finish, trial_table
from stl_search.study.storage import open_storage, open_study
from stl_search.study.strategies.base import Record, strategy
from stl_search.study.strategies.stride import next_arm
from stl_search.trials.trial import Outcome

pytestmark = pytest.mark.slow

PLAN = Settings(("S3", "C2^2"), "2x2x2", 6, "bf16", 0, ("fourier", "orbits", "known", "random"))


def simulate(arms, steps, start=None):
    """Trials one after the other; an arm is (seconds of a trial, total or None)."""
    records = start or [Record() for _ in arms]
    for _ in range(steps):
        i = next_arm(records)
        seconds, total = arms[i]
        records[i] = Record(records[i].trials + 1, records[i].seconds + seconds, total)
    return records


ARMS = st.lists(
    st.tuples(st.floats(0.3, 30), st.one_of(st.none(), st.floats(1e-3, 1))), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None)
@given(arms=ARMS)
def test_looking_round_takes_no_longer_than_the_leader_but_for_one_trial_and_misses_no_arm(arms):
    leader = (1.0, 1e-4)
    longest = max(seconds for seconds, _ in arms)
    for steps in range(1, 4 * len(arms)):
        first, *others = simulate([leader, *arms], steps)
        assert sum(r.seconds / r.trials for r in others if r.trials) <= first.seconds + longest
    assert all(r.trials for r in simulate([leader, *arms], 300 * len(arms)))


@settings(max_examples=40, deadline=None)
@given(arms=ARMS)
def test_no_arm_is_ahead_of_its_share_by_more_than_its_last_trial(arms):
    """Stride scheduling: seconds over weight are level, but for one trial each."""
    arms = [(seconds, 0.3 if total is None else total) for seconds, total in arms]
    start = [Record(1, seconds, total) for seconds, total in arms]
    records = simulate(arms, 60, start)
    best = min(total for _, total in arms)
    weights = [max(math.exp(-(total / best - 1) / 0.05), 0.02) for _, total in arms]
    least = min(r.seconds / w for r, w in zip(records, weights, strict=True))
    for record, weight, (seconds, _) in zip(records, weights, arms, strict=True):
        assert (record.seconds - seconds) / weight <= least * (1 + 1e-9) or record.trials == 1


def test_an_arm_in_flight_is_not_taken_for_one_without_candidates():
    waiting = Record(1, 5.0, None, in_flight=1)
    records = [Record(2, 9.0, 0.3), waiting]
    assert next_arm(records) == 1
    assert next_arm([records[0], replace(waiting, in_flight=0)]) == 0


@pytest.fixture
def study(tmp_path):
    return open_study(open_storage(f"sqlite:///{tmp_path / 'study.db'}"), "stl-plan", PLAN)


def algorithm():
    return Outcome((strassen(),), (0.0,))


def test_a_run_by_time_takes_each_entry_once_and_leaves_the_plan_as_it_is(study):
    arms = PLAN.arms()
    queue_up_to(study, 3)
    taken = [0, 1, 2]
    finished = 0
    for number in range(3, 30):
        index = begin_next(study, strategy("stride")).index
        assert index not in taken
        taken.append(index)
        if number % 2:
            finish(study, taken[finished], replace(algorithm(), totals=(0.3 + 0.01 * number,)), 0.1)
            finished += 1
    # Before there is a result: what the three queued entries left, families without a group first.
    assert [arms[i % len(arms)] for i in taken[3:5]] == [("known", ""), ("random", "")]
    # Of each arm the first entries, in order.
    for arm in range(len(arms)):
        own = [i for i in taken if i % len(arms) == arm]
        assert own == list(range(arm, arm + len(own) * len(arms), len(arms)))


def test_every_group_has_a_trial_before_families_without_one_have_their_second(study):
    arms = PLAN.arms()
    taken = []
    for _ in range(12):
        index = begin_next(study, strategy("stride")).index
        taken.append(arms[index % len(arms)])
        # The families without a group lead: `stride` alone would give them all the time.
        finish(study, index, replace(algorithm(), totals=(0.9 if taken[-1][1] else 0.1,)), 0.1)
    second = min(i for i, arm in enumerate(taken) if not arm[1] and arm in taken[:i])
    assert {group for _, group in taken[:second]} == {"", "S3", "C2^2"}


def test_the_table_of_trials_has_a_line_for_every_family_and_group(study):
    arms = PLAN.arms()
    known, orbits = arms.index(("known", "")), arms.index(("orbits", "S3"))
    finish(study, known, replace(algorithm(), totals=(0.2,)), 1.0)
    finish(study, known + len(arms), replace(algorithm(), totals=(0.1,)), 1.0)
    finish(study, orbits, "no candidate", 1.0)
    table = trial_table(study, asked=arms)
    lines = {(row["family"], row["group"]): row for row in table["arms"]}
    assert set(lines) == set(arms)
    assert (table["finished"], table["without_candidate"]) == (2, 1)
    assert (lines["known", ""]["count"], lines["known", ""]["best"]) == (2, 0.1)
    assert lines["orbits", "S3"]["without_candidate"] == 1
    assert table["arms"][0] == lines["known", ""]
    assert trial_table(study, limit=0)["arms"] == []


def test_entries_of_dead_workers_are_free_again(study):
    first = begin_next(study, strategy("stride"))
    assert begin_next(study, strategy("stride")).index != first.index
    assert release(study, [(first.index, first.token)]) == 1
    assert claim(study).index == first.index


def test_a_profile_is_part_of_the_settings_and_brings_its_family():
    white, fitted = Settings((), "4", 32), Settings((), "4", 32, profile="6,2,1,1")
    assert Settings.from_json(fitted.as_json()) == fitted
    assert "profile" not in white.as_json()
    assert ("strongest", "") in fitted.arms()
    assert ("strongest", "") not in white.arms()
    assert fitted.entry(0).profile == fitted.profile
    assert "profile" in white.changed(fitted)
    with pytest.raises(InvalidInput, match="profile: expected 4 shares"):
        Settings((), "4", 32, profile="2,1")


def test_rounds_go_through_the_plan_in_order():
    by_turns = strategy("rounds")
    records = [Record() for _ in range(3)]
    order = []
    for _ in range(7):
        i = by_turns(records)
        order.append(i)
        records[i] = replace(records[i], trials=records[i].trials + 1, best=float(i))
    assert order == [0, 1, 2, 0, 1, 2, 0]


def test_unknown_strategies_are_named():
    with pytest.raises(InvalidInput, match="stride, rounds"):
        strategy("luck")
