"""`stl-search frontier --exact` and `stl-search find`."""

import json

import numpy as np
import pytest

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.exact.catalogue import best_known_ranks, exact_algorithm
from tests.search.cli.calling import call


@pytest.mark.slow
def test_the_exact_table_is_verified_and_honest_about_gaps():
    data = json.loads(call("frontier", "--exact", "--json").stdout)
    known = best_known_ranks()["ranks"]
    rows = {row["tile"]: row for row in data["rows"]}
    assert set(rows) == set(known)
    assert all(row["exact"] for row in rows.values())
    assert {slug for slug, row in rows.items() if row["ring"] != "Z"} == {"4x4x4", "4x4x6"}
    assert rows["4x4x4"]["ring"] == "Z[1/2]"
    assert all(row["gap"] == row["rank"] - known[slug]["Q"] >= 0 for slug, row in rows.items())
    shown = call("frontier", "--exact").output
    equal = sum(row["gap"] == 0 for row in rows.values())
    assert f"{equal} of {len(rows)} formats" in shown
    assert "48 (49 over Z)" in shown


@pytest.mark.slow
def test_find_by_least_squares_saves_an_exact_file(tmp_path):
    folder = tmp_path / "found"
    outcome = call("find", "2", "--rank", 7, "--method", "least-squares", "--out", folder, "--json")
    assert outcome.exit_code == 0, outcome.output
    data = json.loads(outcome.stdout)
    loaded = load_encoders(data["file"])
    assert verify(loaded.algorithm).exact
    assert loaded.algorithm.rank == 7
    assert loaded.algorithm.provenance.family == "random-start"


def test_find_gives_what_the_package_has(tmp_path):
    outcome = call("find", "3x3x4", "--rank", 29, "--out", tmp_path)
    assert outcome.exit_code == 0
    assert "exact over Z" in outcome.output
    assert (tmp_path / "3x3x4-r29.safetensors").is_file()


@pytest.mark.slow
def test_searches_that_begin_elsewhere_are_others(tmp_path):
    for more in ((), ("--afresh",), ("--restrict",), ("--from", "2x2x2-r7")):
        call("find", "2", "--rank", 6, "--budget", "0.1s", "--out", tmp_path, *more)
    digest = exact_algorithm("2x2x2").digest[:8]
    assert {path.name.removeprefix("2x2x2-r6-flips") for path in tmp_path.glob("*.json")} == {
        "-seed0.json", "-afresh-seed0.json", "-restrict-seed0.json", f"-from-{digest}-seed0.json"
    }  # fmt: skip


@pytest.mark.slow
def test_find_that_does_not_reach_the_rank_says_so(tmp_path):
    outcome = call("find", "2", "--rank", 6, "--budget", "1s", "--out", tmp_path)
    assert outcome.exit_code == 1
    assert "rank 6" in outcome.output
    # Where the search was, and no file of an algorithm.
    assert [path.name for path in tmp_path.iterdir()] == ["2x2x2-r6-flips-seed0.json"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("find", "zwei"), "tile"),
        (("find", "2", "--rank", "0"), "rank"),
        (("find", "2", "--rank", "9"), "rank"),
        (("find", "1x1x1"), "rank"),
        (("find", "6", "--rank", "100"), "tile"),
        (("find", "64"), "tile"),
        (("find", "5", "--rank", "93", "--method", "least-squares"), "order"),
        (("find", "2", "--budget", "never"), "budget"),
        (("find", "2", "--method", "magic"), "method"),
        (("find", "2", "--seed", "-1"), "seed"),
        (("find", "2x2x3", "--afresh", "--restrict"), "no --afresh"),
        (("find", "2", "--from", "2x2x2-r7", "--afresh"), "no --from"),
        (("frontier", "--exact", "results"), "folder"),
    ],
)
def test_wrong_use_is_one_line(arguments, word, tmp_path):
    outcome = call(*arguments, *(("--out", tmp_path / "x") if arguments[0] == "find" else ()))
    assert outcome.exit_code == 2
    assert word in outcome.output.splitlines()[-1]
    assert "Traceback" not in outcome.output


def test_an_unwritable_folder_is_noticed_before_the_search(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    outcome = call("find", "2", "--rank", 6, "--budget", "1h", "--out", blocker / "inside")
    assert outcome.exit_code == 2
    assert "cannot write" in outcome.output


@pytest.mark.slow
def test_other_programs_files_go_through_every_command(tmp_path):
    a = exact_algorithm(TileFormat(2, 3, 3))
    transposed = a.decode.reshape(2, 3, -1).transpose(1, 0, 2).reshape(6, -1)
    np.savez(tmp_path / "scheme.npz", u=a.encode_x.T, v=a.encode_w.T, w=transposed)
    shown = json.loads(call("verify", tmp_path / "scheme.npz", "--json").stdout)
    assert shown["ring"] == "Z"
    assert "columns per product, output C^T" in shown["read_as"]
    outcome = call("import", tmp_path / "scheme.npz", "--json")
    assert outcome.exit_code == 0, outcome.output
    assert load_encoders(tmp_path / "scheme.safetensors").algorithm == a
    for suffix in ("json", "sms", "py", "tex"):
        outcome = call("export", tmp_path / "scheme.npz", "--to", tmp_path / f"out.{suffix}")
        assert outcome.exit_code == 0, outcome.output
    assert call("verify", tmp_path / "out_R.sms").exit_code == 0
    rows = json.loads(call("evaluate", tmp_path / "out.json", "--matrices", "rademacher", "--json").stdout)
    assert rows["closed_form"]["nmse_white"] < 1e-28
    assert call("import", tmp_path / "scheme.npz", "--out", tmp_path / "a.npz").exit_code == 2


def test_a_ring_that_is_asked_for_decides(tmp_path):
    strassen = exact_algorithm(TileFormat(2, 2, 2))
    parts = {"u": abs(strassen.encode_x), "v": abs(strassen.encode_w), "w": abs(strassen.decode.T)}
    np.savez(tmp_path / "two.npz", **parts)
    outcome = call("verify", tmp_path / "two.npz")
    assert outcome.exit_code == 1
    assert "exact over GF(2) only" in outcome.output
    assert call("verify", tmp_path / "two.npz", "--ring", "GF(2)").exit_code == 0
    assert call("verify", tmp_path / "two.npz", "--ring", "GF(3)").exit_code == 1


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_and_keeps_its_floats(tmp_path):
    arguments = ("find", "2x2x3", "--rank", 10, "--method", "flips", "--budget", "1s", "--out", tmp_path)
    assert call(*arguments).exit_code == 1
    (progress,) = tmp_path.glob("*.json")
    done = json.loads(progress.read_text())["done"]
    assert done >= 1
    assert call(*arguments).exit_code == 1
    assert json.loads(progress.read_text())["done"] > done
    progress.write_text("{")
    assert call(*arguments).exit_code == 1
    outcome = call("find", "2", "--rank", 7, "--method", "least-squares", "--jobs", 2, "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
