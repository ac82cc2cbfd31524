"""The command line end to end: runs, continuation, files, every kind of bad input."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors import safe_open

from stl_algebra import TileFormat, load_encoders, save_encoders
from stl_algebra.algorithms.scores import nmse
from stl_algebra.exact.catalogue import strassen
from stl_search.cli import main
from stl_search.cli.main import COMMANDS
from stl_search.judging.sampled import sampled_error
from stl_search.matrices.ensembles import random_pair
from stl_search.matrices.readers import load_matrices
from stl_search.study.results import finished_totals
from stl_search.study.run_folder import read_run
from stl_search.study.storage import open_storage, open_study
from stl_search.study.urls import without_password
from tests.search.cli.calling import call

SMALL = ["run", "--group", "S3", "--tile", "2", "--rank", "6", "--matrices", "rademacher"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small finished run, made once."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    outcome = call(*SMALL, "--trials", 4, "--out", folder, "--json")
    assert outcome.exit_code == 0, outcome.output
    return folder, json.loads(outcome.stdout)


def winners(folder):
    return {p.name: load_encoders(p).algorithm for p in sorted((folder / "encoders").glob("*.safetensors"))}


def test_every_command_has_help_with_an_example():
    root = call("--help")
    assert root.exit_code == 0
    assert set(COMMANDS) == set(main.list_commands(None)) >= {"run", "find", "verify", "capture"}
    for name in COMMANDS:
        command = main.get_command(None, name)
        assert f"  {name} " in root.output
        shown = call(name, "--help").output
        if not hasattr(command, "commands"):
            assert f"stl-search {name}" in shown.split("Example:")[1], name


@pytest.mark.slow
def test_tpp_says_what_is_proven():
    found = json.loads(call("tpp", "S3", "--json").stdout)
    assert (found["realised"], found["proven"], found["collisions"]) == (True, True, 0)
    assert "does not realise" in call("tpp", "C7").stdout
    assert "may or may not" in call("tpp", "C2^5", "--tile", "3", "--nodes", "50").stdout
    assert call("tpp", "X9").exit_code == 2
    assert len(found["words"][0]) == 2
    assert "S = {1, " in call("tpp", "S3").stdout
    assert call("tpp", "S3", "--census").exit_code == call("tpp").exit_code == 2
    rows = json.loads(call("tpp", "--census", "--order", "5..6", "--json").stdout)
    assert {r["group"]: r["largest"] for r in rows} == {"C5": 1, "C6": 1, "S3": 2}
    assert "excluded by bound" in call("tpp", "--census", "--order", "6").stdout
    assert call("tpp", "--census", "--order", "6..2").exit_code == 2


@pytest.mark.slow
def test_run_writes_everything(finished):
    folder, printed = finished
    for name in ("run.json", "study.db", "report.html", "report.md", "scores.csv", "figures/frontier.png"):
        assert (folder / name).stat().st_size > 100, name
    assert "6" in printed["winners"]
    html = (folder / "report.html").read_text()
    assert "Plotly" in html
    for text in ("S3", "2:4 SparseGPT", "Cayley graph", "Real Fourier basis"):
        assert text in html
    # Self-contained: no element loads anything from elsewhere.
    for tag in ('src="http', "src='http", '<link rel="stylesheet"', "@import"):
        assert tag not in html.split("</script>")[-1]
        assert tag not in html.split("<script>")[0]
    assert "rademacher" in (folder / "scores.csv").read_text()


@pytest.mark.slow
def test_stored_scores_are_reproduced_from_the_tensors_alone(finished):
    folder, _ = finished
    for path in (folder / "encoders").glob("*.safetensors"):
        with safe_open(path, "numpy") as f:
            x, w, d = (f.get_tensor(k) for k in ("encode_x", "encode_w", "decode"))
            meta = f.metadata()
        n, k, m = map(int, meta["format"].split("x"))
        t = np.zeros((n * k, k * m, n * m))
        for i, l, j in np.ndindex(n, k, m):
            t[i * k + l, l * m + j, i * m + j] = 1
        white = np.sum((np.einsum("ra,rb,yr->aby", x, w, d) - t) ** 2) / (n * k * m)
        assert abs(white - json.loads(meta["scores"])["nmse_white"]) < 1e-10


@pytest.mark.slow
def test_sampled_error_of_all_winners_agrees_with_their_closed_form(finished):
    folder, _ = finished
    pair = random_pair("gaussian", 1024, 7)
    for algorithm in winners(folder).values():
        assert sampled_error(algorithm, pair).nmse == pytest.approx(nmse(algorithm), rel=0.02, abs=1e-20)


@pytest.mark.slow
def test_s3_ends_with_an_algorithm_exact_over_the_integers(tmp_path):
    outcome = call(
        "run", "--group", "S3", "--tile", "2", "--rank", "7", "--family", "fourier",
        "--trials", "2", "--matrices", "rademacher", "--out", tmp_path,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    path = tmp_path / "encoders" / "2x2x2-r7.safetensors"
    shown = call("verify", path, "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["ring"] == "Z"
    assert load_encoders(path).algorithm.provenance.groups == ("S3",)


@pytest.mark.slow
def test_jobs_and_continuation_do_not_change_the_winners(finished, tmp_path):
    folder, _ = finished
    two = call(*SMALL, "--trials", 4, "--jobs", 2, "--out", tmp_path / "two")
    assert two.exit_code == 0, two.output
    assert winners(tmp_path / "two") == winners(folder)
    assert call(*SMALL, "--trials", 2, "--out", tmp_path / "part").exit_code == 0
    assert call(*SMALL, "--trials", 4, "--out", tmp_path / "part").exit_code == 0
    assert winners(tmp_path / "part") == winners(folder)


def started(target):
    """A run of four trials in a process of its own."""
    command = [sys.executable, "-c", "from stl_search.cli import main; main()", *SMALL, "--trials", "4"]
    return subprocess.Popen(
        [*command, "--out", target], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for_a_finished_trial(target):
    """Look into the database without going through Optuna, which would write to it."""
    for _ in range(1200):
        with contextlib.suppress(sqlite3.OperationalError):
            database = sqlite3.connect(f"file:{target / 'study.db'}?mode=ro", uri=True)
            with contextlib.closing(database):
                if database.execute("select count(*) from trials where state = 'COMPLETE'").fetchone()[0]:
                    return
        time.sleep(0.1)
    raise AssertionError("no trial finished")


@pytest.mark.slow
def test_interrupt_reports_what_is_finished_and_continues(finished, tmp_path):
    folder, _ = finished
    target = tmp_path / "interrupted"
    with started(target) as process:
        wait_for_a_finished_trial(target)
        process.send_signal(signal.SIGINT)
        _, progress = process.communicate(timeout=200)
    # The run may have been done already; if not, it says so and has a report of what it had.
    assert process.returncode in (0, 1)
    assert "Traceback" not in progress
    assert (target / "report.html").exists()
    assert call(*SMALL, "--trials", 4, "--out", target).exit_code == 0
    assert winners(target) == winners(folder)


@pytest.mark.slow
def test_kill_and_continue_loses_and_repeats_nothing(finished, tmp_path):
    folder, _ = finished
    target = tmp_path / "killed"
    with started(target) as process:
        wait_for_a_finished_trial(target)
        os.kill(process.pid, signal.SIGKILL)
    run = read_run(target)
    study = open_study(open_storage(run.storage_url), run.study_name, run.settings)
    before = finished_totals(study)
    assert before
    outcome = call(*SMALL, "--trials", 4, "--out", target)
    assert outcome.exit_code == 0, outcome.output
    assert winners(target) == winners(folder)
    study = open_study(open_storage(run.storage_url), run.study_name, run.settings)
    after = finished_totals(study)
    assert {index: after[index] for index in before} == before
    assert set(after) == {0, 1, 2, 3}
    # And so it stands in what Optuna's tools show.
    shown = [t.user_attrs["index"] for t in study.optuna.get_trials() if t.state.is_finished()]
    assert sorted(shown) == sorted(set(shown))


@pytest.mark.slow
def test_report_again_evaluate_export_and_frontier(finished, tmp_path):
    folder, _ = finished
    again = call("report", folder, "--matrices", "gaussian", "--json")
    assert again.exit_code == 0, again.output
    path = next((folder / "encoders").glob("*.safetensors"))
    evaluated = call("evaluate", path, "--matrices", "minilm", "--json")
    rows = json.loads(evaluated.stdout)["rows"]
    assert {r["matrices"] for r in rows} == {p.name for p in load_matrices("minilm")}
    shown = call("frontier", folder, "--json")
    assert {r["rank"] for r in json.loads(shown.stdout)} == {a.rank for a in winners(folder).values()}
    source = save_encoders(tmp_path / "s.safetensors", strassen())
    assert call("export", source, "--to", tmp_path / "s.json").exit_code == 0
    document = json.loads((tmp_path / "s.json").read_text())
    assert document["rank"] == 7
    assert np.array_equal(np.array(document["decode"]), strassen().decode)
    assert call("export", source, "--to", tmp_path / "s.npz").exit_code == 0
    with np.load(tmp_path / "s.npz") as stored:
        tensor = np.einsum("ar,br,cr->abc", stored["u"], stored["v"], stored["w"])
    assert np.array_equal(tensor, strassen().tensor())
    assert TileFormat(2, 2, 2) == strassen().tile


def test_verify_says_no_with_exit_code_one(tmp_path):
    broken = strassen().with_factors(decode=strassen().decode * 2)
    path = save_encoders(tmp_path / "broken.safetensors", broken)
    outcome = call("verify", path)
    assert outcome.exit_code == 1
    assert "not exact" in outcome.output


@pytest.mark.slow
def test_passwords_are_not_written_or_shown(tmp_path):
    url = "postgresql://me:secret@127.0.0.1:9/x"
    assert without_password(f"--storage {url} --seed 0") == "--storage postgresql://me@127.0.0.1:9/x --seed 0"
    outcome = call(*SMALL, "--trials", 1, "--storage", url, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "secret" not in outcome.output
    assert "secret" not in (tmp_path / "run.json").read_text()


@pytest.mark.slow
def test_groups_and_group_print_what_they_know():
    listed = json.loads(call("groups", "--json").stdout)
    assert {"name": "Q8", "order": 8, "classes": 5, "blocks": ["R", "R", "R", "R", "H"]} in listed
    shown = json.loads(call("group", "S3", "--json").stdout)
    assert shown["products"] == 9
    assert "quaternionic" in call("group", "SL(2,3)").output
    assert call("group", "C64").exit_code == 0


def make_bad_files(folder):
    np.savez(folder / "nan.npz", x=np.full((4, 4), np.nan), w=np.ones((4, 4)))
    np.savez(folder / "empty.npz", x=np.ones((0, 4)), w=np.ones((4, 4)))
    np.savez(folder / "unequal.npz", x=np.ones((4, 3)), w=np.ones((4, 4)))
    whole = save_encoders(folder / "whole.safetensors", strassen()).read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-40])
    (folder / "file").write_text("in the way")
    newer = folder / "newer"
    newer.mkdir()
    (newer / "run.json").write_text('{"stl_folder_version": 99}')
    damaged = folder / "damaged"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")


TWO = ["run", "--group", "S3", "--tile", "2", "--rank"]
BAD = [
    (["run", "--group", "X7", "--rank", "7"], ["group", "C2^4", "D4"]),
    ([*TWO, "0"], ["rank", "1 to 8"]),
    ([*TWO, "9"], ["rank", "1 to 8"]),
    (["run", "--group", "S3", "--tile", "4x", "--rank", "9"], ["tile", "4x4x2"]),
    ([*TWO, "7", "--dtype", "fp4"], ["dtype", "bf16"]),
    ([*TWO, "7", "--family", "magic"], ["family", "fourier"]),
    ([*TWO, "7", "--profile", "1,2"], ["profile", "falling order"]),
    ([*TWO, "7", "--profile", "sorted"], ["profile", "2 shares"]),
    ([*TWO, "7", "--colour", "nowhere.npz"], ["--colour", "existing file", "nowhere.npz"]),
    ([*TWO, "7", "--matrices", "{d}/nan.npz"], ["NaN"]),
    ([*TWO, "7", "--matrices", "{d}/empty.npz"], ["at least one"]),
    ([*TWO, "7", "--matrices", "{d}/unequal.npz"], ["inner sizes"]),
    ([*TWO, "7", "--out", "{d}/file"], ["out"]),
    ([*TWO, "7", "--out", "{d}/file/below"], ["out"]),
    ([*TWO, "7", "--out", "{d}/newer"], ["version 99", "upgrade"]),
    ([*TWO, "7", "--out", "{d}/damaged"], ["run.json"]),
    ([*TWO, "7", "--out", "{d}/r", "--storage", "sqlite:////proc/no/x.db"], ["storage"]),
    ([*TWO, "7", "--out", "{d}/r", "--storage", "nonsense"], ["storage"]),
    ([*TWO, "7", "--out", "{d}/r", "--storage", "./study.db"], ["storage", "sqlite:///./study.db"]),
    ([*TWO, "7", "--trials", "1", "--budget", "5s"], ["trials", "budget"]),
    ([*TWO, "7", "--budget", "soon"], ["90s"]),
    (["run", "--family", "fourier", "--tile", "2", "--rank", "7"], ["group"]),
    (["group", "S99"], ["GB"]),
    (["group", "S3x" * 500 + "C1"], ["GB", "30 digits"]),
    (["group", "(" * 3000 + "S3" + ")" * 3000], ["parentheses"]),
    (["group", "AGL(1,6)"], ["power of a prime"]),
    (["tpp", "C11", "--tile", "3", "--seed", "-1"], ["seed"]),
    (["verify", "{d}/cut.safetensors"], ["safetensors"]),
    (["verify", "{d}/nan.npz"], ["safetensors"]),
    (["verify", "{d}/nowhere"], ["no such file"]),
    (["report", "{d}"], ["run.json"]),
    (["frontier", "{d}/nowhere"], ["existing folder"]),
    (["export", "{d}/whole.safetensors", "--to", "{d}/a.pt"], [".npz"]),
    (["capture", "{d}/nowhere", "--text", "{d}/file"], ["model"]),
    (["evaluate", "{d}/whole.safetensors", "--dtype", "int8", "--matrices", "rademacher"], ["dtype"]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_gets_one_line_and_exit_code_two(arguments, words, tmp_path):
    make_bad_files(tmp_path)
    outcome = call(*(a.replace("{d}", str(tmp_path)) for a in arguments))
    assert outcome.exit_code == 2, outcome.output
    message = [line for line in outcome.stderr.splitlines() if line.lower().startswith("error")]
    assert len(message) == 1, outcome.stderr
    for word in words:
        assert word in message[0]
    assert "Traceback" not in outcome.output


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused_and_nothing_is_lost(finished):
    folder, _ = finished
    kept = winners(folder)
    outcome = call(*SMALL, "--trials", 1, "--seed", 5, "--out", folder)
    assert outcome.exit_code == 2
    assert "seed" in outcome.stderr
    assert winners(folder) == kept


@pytest.mark.slow
def test_capture_of_a_tiny_local_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "tiny"
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(words))
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(folder)
    (tmp_path / "text.txt").write_text("a b c d e f g h i j " * 200)
    target = tmp_path / "tiny.safetensors"
    outcome = call(
        "capture", folder, "--text", tmp_path / "text.txt", "--layers", "*query",
        "--layers", "*intermediate.dense", "--rows", 40, "--length", 32, "--out", target,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    pairs = load_matrices(str(target))
    assert {p.w.shape for p in pairs} == {(16, 16), (16, 32)}
    assert all(len(p.x) == len(p.calibration) == 40 for p in pairs)
    nothing = call(
        "capture", folder, "--text", tmp_path / "text.txt", "--layers", "nothing*", "--out", target
    )
    assert nothing.exit_code == 2
    assert "query" in nothing.stderr
