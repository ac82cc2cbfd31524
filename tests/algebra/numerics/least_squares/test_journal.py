"""Saved states and journals survive, and the stop rule stops when and only when rows are enough."""

import errno
import os
import signal
import subprocess
import sys

import pytest
import torch

from stl_algebra import InvalidInput
from stl_algebra.errors import Unavailable
from stl_algebra.numerics import (
    DynamicLeastSquares,
    HeldOutStop,
    JournaledLeastSquares,
    load_least_squares,
    save_least_squares,
)


def draw(m, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(m, d, generator=g, dtype=torch.float64)
    return a, a.sum(1, keepdim=True) + torch.randn(m, 1, generator=g, dtype=torch.float64)


@pytest.mark.slow
def test_a_journal_cut_anywhere_loses_at_most_the_last_change(tmp_path):
    a, b = draw(40, 3)
    folder = tmp_path / "stream"
    journal = JournaledLeastSquares(folder, DynamicLeastSquares(3))
    answers = [journal.stream.solve().x]
    ends = [0]
    (log,) = folder.glob("journal-*")
    for step in range(4):
        journal.insert(a[10 * step : 10 * step + 10], b[10 * step : 10 * step + 10])
        if step == 2:
            journal.delete(0)
        answers.append(journal.stream.solve().x)
        ends.append(log.stat().st_size)
    journal.close()
    content = log.read_bytes()
    for cut in range(0, len(content) + 1, 61):
        log.write_bytes(content[:cut])
        again = JournaledLeastSquares(folder)
        complete = max(i for i, end in enumerate(ends) if end <= cut)
        if complete != 2:
            assert torch.equal(again.stream.solve().x, answers[complete])
        again.close()
    log.write_bytes(content)
    again = JournaledLeastSquares(folder)
    again.compact()
    again.close()
    final = JournaledLeastSquares(folder)
    assert torch.equal(final.stream.solve().x, answers[-1])
    final.close()
    with pytest.raises(InvalidInput, match="stream"):
        JournaledLeastSquares(tmp_path / "new")


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    a, b = draw(30, 3)
    journal = JournaledLeastSquares(tmp_path / "stream", DynamicLeastSquares(3))
    journal.insert(a[:10], b[:10])
    answer, write = journal.stream.solve().x, os.write

    def half(descriptor, data):
        if len(data) < 300:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:300])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(Unavailable, match="No space left"):
        journal.insert(a[10:20], b[10:20])
    monkeypatch.undo()
    assert torch.equal(journal.stream.solve().x, answer)
    journal.insert(a[20:], b[20:])
    journal.close()
    again = JournaledLeastSquares(tmp_path / "stream")
    assert again.stream.rows == 20
    assert torch.equal(again.stream.solve().x, journal.stream.solve().x)
    again.close()


ENDLESS_INSERTS = """
import sys
import torch
from stl_algebra.numerics import DynamicLeastSquares, JournaledLeastSquares

stream = JournaledLeastSquares(sys.argv[1], DynamicLeastSquares(3))
while True:
    a = torch.arange(3, dtype=torch.float64).reshape(1, 3) + stream.stream.rows ** 0.5
    stream.insert(a.sin(), a[:, :1])
    print(stream.stream.rows, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_loses_at_most_the_insert_in_flight(tmp_path):
    reported = 0
    for lines in (1, 7, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_INSERTS, tmp_path / "stream"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        # What it had still printed before it died counts as reported too.
        reported = max([reported + lines, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
        again = JournaledLeastSquares(tmp_path / "stream")
        assert reported <= again.stream.rows <= reported + 1
        expected = DynamicLeastSquares(3)
        for row in range(again.stream.rows):
            a = torch.arange(3, dtype=torch.float64).reshape(1, 3) + row**0.5
            expected.insert(a.sin(), a[:, :1])
        assert torch.equal(again.stream.solve().x, expected.solve().x)
        reported = again.stream.rows
        again.close()


def test_file_round_trip(tmp_path):
    stream = DynamicLeastSquares(3)
    stream.insert(*draw(10, 3))
    path = save_least_squares(tmp_path / "s.safetensors", stream)
    assert torch.equal(load_least_squares(path).solve().x, stream.solve().x)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InvalidInput, match="saved state"):
        load_least_squares(path)


@pytest.mark.slow
def test_the_stop_rule_waits_for_enough_rows():
    held = draw(2000, 20, 1)
    stream, rule = DynamicLeastSquares(20, deletions="none"), HeldOutStop(*held, tolerance=0.02)
    a, b = draw(20_000, 20)
    for start in range(0, 20_000, 50):
        stream.insert(a[start : start + 50], b[start : start + 50])
        report = rule.check(stream)
        if report is not None and report.stop:
            break
    # The excess d / n has to be below the tolerance, within the noise, and far more rows are a waste.
    assert 500 <= stream.rows <= 15_000
    assert report.error < 1.15
