"""The comparison's arithmetic: intervals over seeds, and which run comes when."""

import math

import pytest
from scipy import stats

from benchmarks.training import ARMS, runs, summary

COUNTS = {"core": 1, "everything": 2, "parameters": 3}


def run(arm, accuracy):
    multiplications = {"model": COUNTS, "ratios": {"core": 2.0, "everything": 1.5}}
    return {"arm": arm, "accuracy": accuracy, "interval": [0.0, 1.0], "multiplications": multiplications}


def test_the_deviation_between_seeds_is_pooled():
    results = {
        str(i): run(*one)
        for i, one in enumerate([("a", 0.5), ("b", 0.6), ("a", 0.52), ("b", 0.66), ("c", 0.4)])
    }
    found = summary(results)
    deviation = math.sqrt((0.02**2 / 2 + 0.06**2 / 2) / 2)
    half = stats.t.ppf(0.975, 2) * deviation
    for arm, mean, seeds in (("a", 0.51, 2), ("b", 0.63, 2), ("c", 0.4, 1)):
        low, high = found[arm]["interval_of_seeds"]
        assert found[arm]["seeds"] == seeds
        assert (low + high) / 2 == pytest.approx(mean)
        assert high - low == pytest.approx(2 * half / math.sqrt(seeds))


def test_one_seed_an_arm_has_no_interval_over_seeds():
    assert summary({"0": run("a", 0.5)})["a"]["interval_of_seeds"] is None


def test_every_arm_has_its_first_seed_before_any_has_a_second():
    order = runs({arm: {"lr": 0.5, "encoded_lr": None} for arm in ARMS})
    assert len({key for key, _, _ in order}) == sum(count for _, count in ARMS.values())
    assert [arm for _, arm, _ in order[: len(ARMS)]] == list(ARMS)
    assert {recipe.rates.lr for _, _, recipe in order} == {0.5}
    assert {arm for _, arm, recipe in order if recipe.rates.decay == "map"} == {"stl 49, along weights"}
    assert {recipe.seed for _, _, recipe in order[: len(ARMS)]} == {0}
