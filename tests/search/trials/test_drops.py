"""Sets of products dropped at once: which are tried, what they find that single ones miss, errors by name."""

from math import comb

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat
from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.profile import SORTED, Profile
from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.exact.catalogue import strassen
from stl_algebra.published import encoders
from stl_search.cli.main import main
from stl_search.trials.als import Target, als, objective, to_batch
from stl_search.trials.descent import Descent, descend
from stl_search.trials.drops import Drops, dropped, sets_of_products
from stl_search.trials.prune import best_different, removals

SHORT = Drops(2, 600, ((30, 60), (150, 4)), (1e-2, 1e-4, 1e-6))


def with_a_product_twice(seed):
    """Strassen's algorithm, exact, of rank 9: a product is added and taken away."""
    rng = np.random.default_rng(seed)
    x, w, d = (rng.normal(size=(1, 4)) for _ in range(3))
    exact = strassen()
    return BilinearAlgorithm(
        exact.tile,
        np.concatenate([exact.encode_x, x, x]),
        np.concatenate([exact.encode_w, w, w]),
        np.concatenate([exact.decode, d.T, -d.T], axis=1),
    )


@pytest.mark.parametrize(("rank", "size", "tries"), [(7, 1, 10), (7, 3, 35), (9, 4, 125), (40, 3, 200)])
def test_all_sets_are_tried_where_they_are_few_else_as_many_as_asked_for(rank, size, tries):
    keep = sets_of_products(rank, size, tries, (0,))
    assert keep.shape[1] == rank
    assert bool(((~keep).sum(dim=1) == size).all())
    assert len(torch.unique(keep, dim=0)) == len(keep)
    assert len(keep) == min(comb(rank, size), tries)


def test_cheap_products_are_drawn_more_often_and_no_set_is_left_out_of_the_draw():
    costs = np.array([1e-2] * 10 + [1.0] * 30)
    keep = sets_of_products(40, 2, 40, (0,), costs)
    share = (~keep).to(torch.float64).mean(dim=0)
    assert float(share[:10].mean()) > 3 * float(share[10:].mean()) > 0


def test_a_product_that_costs_nothing_does_not_keep_the_draw_from_its_end():
    costs = np.array([0.0] * 3 + [1e30] * 9)
    assert len(sets_of_products(12, 4, 490, (0,), costs)) == 490


def test_what_cancels_is_dropped_together():
    target = Target.of(TileFormat(2, 2, 2), 1e-6)
    found = dropped(target, to_batch([with_a_product_twice(0)]), 7, SHORT)
    assert found[0].shape[1] == 7
    exact = float(objective(target, to_batch([strassen()]))[0])
    assert float(objective(target, found)[0]) <= 2 * exact


@pytest.mark.slow
def test_two_at_once_beat_one_after_the_other():
    """From rank 40 for sorted features."""
    tile = TileFormat(4, 4, 4)
    colour = Profile.parse(SORTED, 4).colour(tile)
    target = Target.of(tile, rounding_constant("bf16"), colour)
    start = to_batch([encoders(tile, 40, SORTED)], colour)
    single = start
    for _ in range(2):
        children = als(target, removals(target, single, 8), 180, (1e-2, 1e-6))
        single = best_different(target, children, 1)
    both = dropped(target, start, 38, Drops(2, 800, ((30, 60), (150, 4)), (1e-2, 1e-4, 1e-6)))
    assert float(objective(target, both)[0]) < float(objective(target, single)[0])


def test_the_same_seed_finds_the_same():
    target = Target.of(TileFormat(2, 2, 2), 1e-6)
    start = to_batch([with_a_product_twice(1)])
    how = Drops(3, 20, ((10, 8), (20, 3)), (1e-2, 1e-4, 1e-6))
    once, again, other = (dropped(target, start, 6, how, seed) for seed in ((3,), (3,), (4,)))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, other, strict=True))
    values = objective(target, once)
    assert bool((values[1:] >= values[:-1]).all())


@pytest.mark.slow
def test_a_descent_with_sets_is_better_in_the_end():
    tile = TileFormat(2, 2, 2)
    plain, sets = (
        [f.total for f in descend(tile, {7: [strassen()]}, 3, "bf16", Descent(1, 1, drops=drops))]
        for drops in (None, Drops(3, 100))
    )
    # What is equal is equally near the bottom of a valley.
    assert all(a <= b * (1 + 1e-4) for a, b in zip(sets, plain, strict=True))
    assert sets[-1] < plain[-1]


def test_errors_name_the_argument():
    target, start = Target.of(TileFormat(2, 2, 2), 1e-6), to_batch([strassen()])
    for rank in (0, 7, 9):
        with pytest.raises(InvalidInput, match=r"^rank: expected a rank from 1 to 6"):
            dropped(target, start, rank, SHORT)
    for given in ({"most": 0}, {"tries": 0}):
        with pytest.raises(InvalidInput, match=rf"^{next(iter(given))}: expected at least 1, got 0"):
            Drops(**given)
    with pytest.raises(InvalidInput, match=r"^proximal: expected 3 weights for 2 rounds, got 5"):
        Drops(rounds=((1, 1), (1, 1)))


def test_on_the_command_line(tmp_path):
    asked = ["descend", "2x2x2", "--lowest", "5", "--drops", "2", "--tries", "30", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    stored = load_encoders(tmp_path / "encoders" / "2x2x2-r5.safetensors").algorithm
    assert stored.rank == 5
    wrong = CliRunner().invoke(main, [*asked, "--device", "abacus"])
    assert wrong.exit_code != 0
    assert "device: expected cpu, or cuda where torch sees a GPU, got abacus" in wrong.stderr
    for beside in (["--up"], ["--branch", "0"]):
        refused = CliRunner().invoke(main, [*asked, *beside])
        assert (refused.exit_code, "drops: expected neither --up" in refused.stderr) == (2, True)
