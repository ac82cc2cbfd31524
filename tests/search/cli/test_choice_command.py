"""`stl-search frontier --ratio`: which algorithm for a ratio, a shape and a device."""

import json

import pytest

from tests.search.cli.calling import call


@pytest.mark.slow
def test_without_a_device_by_error():
    rows = json.loads(call("frontier", "--ratio", "1.5", "--json").stdout)["candidates"]
    assert all(row["ratio"] >= 1.5 for row in rows)
    assert [row["total"] for row in rows] == sorted(row["total"] for row in rows)
    assert "seconds" not in rows[0]


@pytest.mark.slow
def test_with_a_device_by_time_too():
    arguments = ["frontier", "--ratio", "2", "--shape", "4096x4096x4096", "--device", "h200"]
    answer = json.loads(call(*arguments, "--json").stdout)
    rows = answer["candidates"]
    assert answer["device"] == "H200"
    assert all(row["speedup"] == pytest.approx(row["dense_seconds"] / row["seconds"]) for row in rows)
    shown = call(*arguments).stdout
    fastest = min(rows, key=lambda row: row["seconds"])
    assert f"predicted fastest on H200: {fastest['name']}" in shown
    assert f"least error: {rows[0]['name']}" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ratio", "2", "results"], ["ratio", "no folders"]),
        (["--ratio", "2", "--exact"], ["ratio"]),
        (["--ratio", "2", "--shape", "4x4x4"], ["--device"]),
        (["--ratio", "2", "--shape", "4x4", "--device", "h200"], ["shape", "NxKxM"]),
        (["--ratio", "2", "--shape", "4x0x4", "--device", "h200"], ["shape"]),
        (["--ratio", "2", "--shape", "4x4x4", "--device", "abacus"], ["device", "H200"]),
        (["--ratio", "900"], ["ratio", "reaches"]),
        (["--shape", "4x4x4"], ["--ratio"]),
    ],
)
def test_bad_questions(arguments, words):
    outcome = call("frontier", *arguments)
    assert outcome.exit_code == 2
    assert all(word in outcome.output for word in words), outcome.output
