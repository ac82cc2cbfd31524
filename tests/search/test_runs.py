"""A whole run from Python: the same as the command line, judged once, reported again without a proof."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

import stl_search
from stl_algebra import InvalidInput, load_encoders
from stl_algebra.algorithms import encoders_file, judged
from stl_search import runs
from stl_search.cli import main
from stl_search.study.run_folder import read_trials

SMALL = {"groups": "S3", "tile": "2", "rank": 6, "families": ("fourier", "known")}


@pytest.fixture
def proofs(monkeypatch):
    """How often each algorithm is proven and scored from now on, in this process."""
    counts = {"proven": Counter(), "scored": Counter()}
    for module in (judged, encoders_file):
        for what, name in (("proven", "verify"), ("scored", "closed_form_scores")):
            monkeypatch.setattr(module, name, counting(counts[what], getattr(module, name)))
    return counts


def counting(counter, original):
    def counted(algorithm):
        counter[algorithm.digest] += 1
        return original(algorithm)

    return counted


@pytest.mark.slow
def test_python_does_what_the_command_does_and_judges_winners_once(tmp_path, proofs):
    seen = []
    result = stl_search.run(
        **SMALL,
        matrices=["rademacher"],
        trials=3,
        out=tmp_path / "python",
        progress=lambda *step: seen.append(step),
    )
    assert result.report.is_file()
    assert not result.interrupted
    assert any(what.startswith("searching") for what, _, _ in seen)
    assert [w.algorithm.rank for w in result.winners.values()] == list(result.winners)
    for winner in result.winners.values():
        digest = winner.algorithm.digest
        assert (proofs["proven"][digest], proofs["scored"][digest]) == (1, 1)

    outcome = CliRunner().invoke(
        main,
        "run --group S3 --tile 2 --rank 6 --family fourier --family known --matrices rademacher --trials 3 "
        f"--out {tmp_path / 'command'} --json".split(),
    )
    assert outcome.exit_code == 0, outcome.output
    printed = json.loads(outcome.stdout)["winners"]
    assert {r: w["digest"] for r, w in printed.items()} == {
        str(r): w.algorithm.digest for r, w in result.winners.items()
    }

    for counter in proofs.values():
        counter.clear()
    again = runs.report_again(tmp_path / "python")
    assert {r: w.algorithm for r, w in again.winners.items()} == {
        r: w.algorithm for r, w in result.winners.items()
    }
    assert not proofs["proven"]
    assert not proofs["scored"]


def test_a_folder_without_its_storage_keeps_its_table_of_trials(tmp_path):
    published = Path("results/frontier-4x4x4")
    shutil.copytree(published, tmp_path / "copy")
    (tmp_path / "copy" / "study.db").unlink(missing_ok=True)
    for rank in range(17, 50):
        (tmp_path / "copy" / "encoders" / f"4x4x4-r{rank}.safetensors").unlink()
    content = runs.report_again(tmp_path / "copy", ["rademacher"])
    assert content.trials == read_trials(published)
    assert not (tmp_path / "copy" / "study.db").exists()
    assert content.untried == []
    (tmp_path / "copy" / "trials.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"trials\.json"):
        runs.report_again(tmp_path / "copy", ["rademacher"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"trials": 1, "budget": 1.0}, "budget"),
        ({"ranks": 3}, "ranks"),
        ({"rank": 99, "tile": "2"}, "rank"),
        ({"groups": "X7"}, "group"),
        ({"matrices": ["nothing"]}, "matrices"),
    ],
)
def test_wrong_values_are_named_before_anything_is_written(arguments, word, tmp_path):
    with pytest.raises(InvalidInput, match=word):
        stl_search.run(**arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_published_frontier_is_certified_by_its_files():
    for rank in (16, 32, 49):
        stored = load_encoders(f"results/frontier-4x4x4/encoders/4x4x4-r{rank}.safetensors")
        assert stored.judged() == judged.Judged.of(stored.algorithm)
