"""A whole run from Python: the same as the command line, judged once, reported again without a proof."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import stl_search
from stl_algebra import InvalidInput, load_encoders
from stl_algebra.algorithms import encoders_file, judged
from stl_algebra.exact.catalogue import strassen
from stl_search import runs
from stl_search.cli import main
from stl_search.study.plan import Settings
from stl_search.study.queue import queue_up_to
from stl_search.study.results import finish
from stl_search.study.run_folder import Run, read_trials, start_run
from stl_search.study.storage import open_storage, open_study
from stl_search.trials.trial import Outcome

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


@pytest.mark.slow
def test_the_report_of_a_running_study_is_of_what_is_finished_and_counts(tmp_path):
    plan = Settings(("S3",), "2", 6, families=("fourier", "known"))
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "small.npz", x=rng.standard_normal((8, 8)), w=rng.standard_normal((8, 8)))
    run = Run(tmp_path, plan, (str(tmp_path / "small.npz"),), "", "command", trials=3)
    start_run(run)
    study = open_study(open_storage(run.storage_url), run.study_name, plan)
    queue_up_to(study, 3)
    with pytest.raises(InvalidInput, match="encoders"):
        runs.report_again(tmp_path)
    algorithms = strassen(), strassen().with_factors(decode=strassen().decode * 0.5)
    finish(study, 1, Outcome(algorithms[1:], (0.25,)), 1.0)
    finish(study, 3, Outcome(algorithms[:1], (0.0,)), 1.0)
    early = runs.report_again(tmp_path)
    assert [w.algorithm for w in early.winners.values()] == [algorithms[1]]
    assert early.trials["finished"] == 1
    # More is finished: the same command sees it. What lies beyond the plan does not count.
    finish(study, 2, Outcome(algorithms[:1], (0.0,)), 1.0)
    late = runs.report_again(tmp_path)
    assert [w.algorithm for w in late.winners.values()] == [algorithms[0]]
    assert late.trials["finished"] == 2


@pytest.mark.slow
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
