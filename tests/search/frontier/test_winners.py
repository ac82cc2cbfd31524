"""Choosing winners: the frontier by total, exact before nearly as good, nothing proven that cannot win."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import kronecker
from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.fit import best_decoder
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.scores import total
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import strassen, winograd
from stl_algebra.published import FOLDER
from stl_search.cli.main import main
from stl_search.frontier import winners as module
from stl_search.frontier.winners import choose_winners, read_winners, write_winners

EIGHT = definition(TileFormat(2, 2, 2))
ROUGH = strassen().with_factors(decode=strassen().decode * (1 + 1e-3))


def found(*algorithms):
    return [(i, total(a, "bf16"), a) for i, a in enumerate(algorithms)]


def test_only_ranks_that_no_smaller_one_beats_win():
    chosen = choose_winners(found(EIGHT, strassen(), winograd()), "bf16")
    assert set(chosen) == {7, 8}
    assert chosen[7].algorithm == strassen()  # winograd amplifies more
    worse = EIGHT.with_factors(decode=EIGHT.decode * 1.1)
    assert set(choose_winners(found(worse, strassen()), "bf16")) == {7}


def test_an_exact_algorithm_is_preferred_to_a_slightly_better_one():
    value = total(strassen(), "bf16")
    chosen = choose_winners([(0, value / 1.4, ROUGH), (1, value, strassen())], "bf16")
    assert chosen[7].exact
    chosen = choose_winners([(0, value / 1.6, ROUGH), (1, value, strassen())], "bf16")
    assert not chosen[7].exact


def test_equal_totals_go_to_the_earlier_trial():
    value = total(strassen(), "bf16")
    chosen = choose_winners([(5, value, winograd()), (2, value, strassen())], "bf16")
    assert chosen[7].algorithm == strassen()


def test_what_cannot_win_is_not_proven(monkeypatch):
    proven = []
    original = module.Judged.of

    def counted(algorithm):
        proven.append(algorithm)
        return original(algorithm)

    monkeypatch.setattr(module.Judged, "of", counted)
    bad = strassen().with_factors(decode=strassen().decode * 2)
    choose_winners(found(bad, strassen(), strassen()), "bf16")
    assert proven == [strassen()]


def test_files_of_ranks_that_win_no_more_are_removed(tmp_path):
    write_winners(tmp_path, choose_winners(found(EIGHT, strassen()), "bf16"))
    assert set(read_winners(tmp_path)) == {7, 8}
    write_winners(tmp_path, choose_winners(found(strassen()), "bf16"))
    again = read_winners(tmp_path)
    assert again == choose_winners(found(strassen()), "bf16")
    large = kronecker(strassen(), strassen())
    write_winners(tmp_path, choose_winners(found(large), "bf16"))
    assert set(read_winners(tmp_path)) == {49}


def test_a_published_entry_is_replaced_by_a_better_one_only(tmp_path):
    rng = np.random.default_rng(0)
    worse, better = tmp_path / "worse", tmp_path / "better"
    factors = [rng.normal(size=s) for s in ((5, 4), (5, 4), (4, 5))]
    rough = BilinearAlgorithm("2", *factors)
    fine = rough.with_factors(decode=best_decoder(rough.tile, *factors[:2]))
    near = strassen().with_factors(decode=strassen().decode * (1 + 1e-6))
    for folder, algorithms in ((worse, (rough, near)), (better, (fine, strassen()))):
        write_winners(folder, {a.rank: Judged.of(a) for a in algorithms})

    def copied(folder):
        arguments = ["frontier", str(folder), "--into", str(tmp_path / "published"), "--json"]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        return {row["rank"] for row in json.loads(done.stdout) if row["copied"]}

    assert copied(worse) == {5, 7}
    assert copied(better) == {5, 7}
    assert copied(worse) == copied(better) == set()
    assert load_encoders(tmp_path / "published" / "2x2x2-r7.safetensors").judged().exact


@pytest.mark.parametrize(
    ("home", "dtype"), [(FOLDER, "fp16"), (FOLDER / "fp32", "bf16"), (FOLDER / "fp16", "fp32")]
)
def test_what_is_best_at_one_dtype_does_not_replace_what_another_bears(tmp_path, home, dtype):
    folder = tmp_path / "found"
    write_winners(folder, {7: Judged.of(strassen())})
    before = {path: path.read_bytes() for path in home.glob("2x2x2-*.safetensors")}
    done = CliRunner().invoke(main, ["frontier", str(folder), "--dtype", dtype, "--into", str(home)])
    assert done.exit_code == 2
    assert f"into: expected a folder for {dtype}" in done.stderr
    assert {path: path.read_bytes() for path in home.glob("2x2x2-*.safetensors")} == before
