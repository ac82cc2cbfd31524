"""The benchmark command: names, exit codes and what it stores."""

import json

from benchmarks import __main__ as command


def test_every_benchmark_runs_without_an_argument_and_one_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BENCHMARKS", {"first": lambda: [1.5], "second": lambda: {"n": 2}})
    monkeypatch.setattr(command.torch, "set_num_threads", lambda count: None)
    assert command.main(["second"]) == 0
    folder = tmp_path / "results" / "numerics"
    assert [path.name for path in folder.iterdir()] == ["second.json"]
    assert command.main([]) == 0
    record = json.loads((folder / "first.json").read_text())
    assert record["results"] == [1.5]
    assert record["command"] == "python -m benchmarks first"
    assert set(record) == {"command", "date", "device", "versions", "results"}


def test_an_unknown_name_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(["dls", "nope"]) == 2
    assert "dls-accuracy" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
