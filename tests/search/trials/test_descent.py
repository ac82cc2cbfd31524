"""Polishing and descending a frontier: never worse, totals as scored, errors by name."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat
from stl_algebra.algorithms.encoders_file import load_encoders, save_encoders
from stl_algebra.algorithms.scores import rounding_constant, total
from stl_algebra.exact.catalogue import strassen
from stl_algebra.published import encoders
from stl_search.cli.main import main
from stl_search.trials.als import Target, from_batch, objective, to_batch
from stl_search.trials.descent import Descent, ascend, descend
from stl_search.trials.polish import Polish, brought_down, polish

TILE = TileFormat(2, 2, 2)


def random_algorithm(rank, seed):
    rng = np.random.default_rng(seed)
    return BilinearAlgorithm(TILE, *(rng.normal(size=s) for s in ((rank, 4), (rank, 4), (4, rank))))


@pytest.mark.slow
def test_polish_never_makes_worse_and_ends_in_a_valley():
    target = Target.of(TILE, 1e-3)
    batch = to_batch([random_algorithm(6, seed) for seed in range(5)])
    before = objective(target, batch)
    once = polish(target, batch, Polish(100, 1e-2))
    assert bool((objective(target, once) <= before).all())
    twice = polish(target, once, Polish(100, 1e-2))
    torch.testing.assert_close(objective(target, twice), objective(target, once), rtol=1e-5, atol=0)


@pytest.mark.slow
def test_a_descent_tells_what_it_found():
    founds = list(descend(TILE, {7: [strassen()]}, 4, "bf16", Descent(2, 3)))
    assert [f.algorithm.rank for f in founds] == [6, 5, 4]
    assert all(f.before == float("inf") for f in founds)
    totals = [f.total for f in founds]
    assert totals == sorted(totals)
    for f in founds:
        assert f.total == pytest.approx(total(f.algorithm, "bf16"), rel=1e-9)
    # No better than dropping whole products of the definition is: a quarter of all at rank 6.
    assert totals[0] < 0.25 + 10 * rounding_constant("bf16")


@pytest.mark.slow
def test_with_a_stride_the_ranks_between_are_gone_through_and_not_told_of():
    founds = list(descend(TILE, {7: [strassen()]}, 3, "bf16", Descent(2, 3, stride=2)))
    assert [f.algorithm.rank for f in founds] == [6, 4, 3]
    # What is known of a rank in between serves those below it.
    known = {7: [strassen()], 5: [f.algorithm for f in descend(TILE, {7: [strassen()]}, 5)][-1:]}
    with_it, without = (
        next(descend(TILE, k, 4, "bf16", Descent(1, 1, stride=4))) for k in (known, {7: known[7]})
    )
    assert with_it.algorithm.rank == without.algorithm.rank == 4
    assert with_it.total <= without.total * (1 + 1e-6)


@pytest.mark.slow
def test_what_was_known_is_kept_where_it_is_better():
    best = [f.algorithm for f in descend(TILE, {7: [strassen()]}, 5, "bf16", Descent(4, 7))]
    known = {7: [strassen()], 6: [best[0]], 5: [random_algorithm(5, 0)]}
    for f, own in zip(descend(TILE, known, 5, "bf16", Descent(1, 1)), (best[0], known[5][0]), strict=True):
        assert f.before == pytest.approx(total(own, "bf16"))
        assert f.total <= f.before * (1 + 1e-12)


@pytest.mark.slow
def test_on_the_way_up_no_rank_is_left_worse_than_a_lower_one():
    four = next(descend(TILE, {7: [strassen()]}, 6))
    known = {6: [four.algorithm], 7: [random_algorithm(7, 0)], 8: [random_algorithm(8, 1)]}
    founds = list(ascend(TILE, known, 9, "bf16", Descent(2, 4)))
    assert [f.algorithm.rank for f in founds] == [7, 8, 9]
    totals = [four.total, *(f.total for f in founds)]
    assert totals == sorted(totals, reverse=True)
    assert founds[0].total < 0.9 * min(four.total, founds[0].before)
    assert founds[0].total == pytest.approx(total(founds[0].algorithm, "bf16"), rel=1e-9)
    assert founds[-1].before == float("inf")
    again = list(ascend(TILE, known, 9, "bf16", Descent(2, 4, stride=3)))
    assert [f.algorithm.rank for f in again] == [9]
    with pytest.raises(InvalidInput, match="highest: expected a rank above 6"):
        next(ascend(TILE, known, 6))


@pytest.mark.slow
def test_without_removals_only_known_ranks_are_polished():
    known = {7: [strassen()], 5: [random_algorithm(5, 1)]}
    founds = list(descend(TILE, known, 4, "bf16", Descent(1, 0)))
    assert [f.algorithm.rank for f in founds] == [5]
    assert founds[0].total < founds[0].before


@pytest.mark.slow
def test_what_amplifies_without_end_is_brought_down_to_a_shorter_dtype(tmp_path):
    # Rank 10 is the border rank of <2,2,3>: at a smaller penalty it errs less and amplifies more.
    tile, published = TileFormat(2, 2, 3), encoders("2x2x3", 10)
    wild = to_batch([published])
    for penalty in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10):
        wild = polish(Target.of(tile, penalty), wild, Polish(100))
    target = Target.of(tile, rounding_constant("bf16"))
    assert float(objective(target, wild)) > 10 * total(published, "bf16")
    tame = float(objective(target, brought_down(target, wild)))
    assert tame == pytest.approx(total(published, "bf16"), rel=0.05)
    save_encoders(tmp_path / "wild.safetensors", from_batch(wild, published, ())[0])
    arguments = ["descend", "2x2x3", "--lowest", "10", "--afresh", "--json", "--out", str(tmp_path / "out")]
    alone, more = (
        json.loads(CliRunner().invoke(main, [*arguments, *also]).stdout)["ranks"][0]["total"]
        for also in ((), ("--also", str(tmp_path / "wild.safetensors")))
    )
    assert more < alone
    assert more == pytest.approx(tame, rel=0.05)
    other = CliRunner().invoke(main, [*arguments, "--also", "2x2x2-r6"])
    assert (other.exit_code, "also: expected encoders of <2,2,3>" in other.stderr) == (2, True)
    outside = CliRunner().invoke(main, [*arguments, "--also", "2x2x3-r9"])
    assert (outside.exit_code, "of rank 10 to 11" in outside.stderr) == (2, True)


def test_wrong_arguments_are_named():
    with pytest.raises(InvalidInput, match="known"):
        next(descend(TILE, {}, 4))
    with pytest.raises(InvalidInput, match="rank 6"):
        next(descend(TILE, {6: [strassen()]}, 4))
    with pytest.raises(InvalidInput, match="lowest"):
        next(descend(TILE, {7: [strassen()]}, 7))


@pytest.mark.slow
def test_the_command_replaces_files_by_better_ones_only(tmp_path):
    arguments = ["descend", "2x2x2", "--lowest", "5", "--out", str(tmp_path), "--width", "1"]
    first = CliRunner().invoke(main, [*arguments, "--branch", "4"])
    assert first.exit_code == 0, first.output
    paths = sorted((tmp_path / "encoders").iterdir())
    assert [p.name for p in paths] == ["2x2x2-r5.safetensors", "2x2x2-r6.safetensors"]
    before = {p: total(load_encoders(p).algorithm, "bf16") for p in paths}
    again = CliRunner().invoke(main, [*arguments, "--branch", "1"])
    assert again.exit_code == 0, again.output
    assert all(total(load_encoders(p).algorithm, "bf16") <= before[p] for p in paths)
    assert load_encoders(paths[0]).algorithm.provenance.family == "descent"
    # What the folder knows below the highest rank plays no part then; its better files stay.
    afresh = CliRunner().invoke(main, [*arguments, "--branch", "1", "--afresh", "--json"])
    assert [row["before"] for row in json.loads(afresh.stdout)["ranks"]] == [None, None]
    assert all(total(load_encoders(p).algorithm, "bf16") <= before[p] for p in paths)
    up = CliRunner().invoke(main, [*arguments, "--up", "--branch", "2", "--json"])
    assert [row["rank"] for row in json.loads(up.stdout)["ranks"]] == [6]
    assert all(total(load_encoders(p).algorithm, "bf16") <= before[p] for p in paths)
    nowhere = CliRunner().invoke(
        main, [*arguments[:2], "--lowest", "6", "--highest", "5", "--up", *arguments[4:]]
    )
    assert nowhere.exit_code == 2
    other = CliRunner().invoke(main, ["descend", "2x2x3", "--lowest", "9", "--out", str(tmp_path)])
    assert other.exit_code == 2
    assert "2x2x2" in other.stderr or "<2,2,2>" in other.stderr
