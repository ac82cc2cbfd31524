"""The cache on disk: the same bits, damaged files, several processes, killed writers, no folder."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from stl_algebra import cache
from stl_algebra.cache import cache_folder, cached_arrays
from stl_algebra.groups import parse_group
from stl_algebra.groups.subgroups import _complete, subgroup_classes
from stl_algebra.representations import complex_irreps

ARRAYS = {
    "complex": np.array([[1 + 2j, -0.0 - 0.0j], [np.pi, 1e-300j]]),
    "real": np.linspace(0, 1, 7).reshape(7, 1),
    "whole": np.arange(5),
    "mask": np.array([True, False]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STL_ALGEBRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def counted(arrays=ARRAYS):
    calls = []

    def compute():
        calls.append(1)
        return arrays

    return calls, compute


def same_bits(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype
        assert array.shape == second[name].shape
        assert array.tobytes() == second[name].tobytes()


def test_read_results_are_the_computed_ones_bit_for_bit(folder):
    calls, compute = counted()
    same_bits(cached_arrays("test", 1, "key", compute), ARRAYS)
    read = cached_arrays("test", 1, "key", compute)
    same_bits(read, ARRAYS)
    assert len(calls) == 1
    assert not any(a.flags.writeable for a in read.values())
    cached_arrays("test", 2, "key", compute)
    cached_arrays("test", 1, "other", compute)
    assert len(calls) == 3


def flip_a_bit(data):
    return data[:-3] + bytes([data[-3] ^ 4]) + data[-2:]


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff" * len(data),
        lambda data: data.replace(b"checksum", b"nonsense"),
    ],
)
def test_damaged_files_are_computed_again_and_mended(folder, damage):
    calls, compute = counted()
    cached_arrays("test", 1, "key", compute)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    same_bits(cached_arrays("test", 1, "key", compute), ARRAYS)
    assert len(calls) == 2
    assert path.read_bytes() == whole


def test_groups_come_out_of_the_cache_bit_for_bit(folder):
    group = parse_group("GL(2,3)")
    for clear in (complex_irreps.cache_clear, _complete.cache_clear):
        clear()
    computed, lattice = complex_irreps(group), subgroup_classes(group)
    names = {path.name.split("-")[0] for path in folder.iterdir()}
    assert names == {"irreps", "subgroups"}
    for clear in (complex_irreps.cache_clear, _complete.cache_clear):
        clear()
    for first, second in zip(computed, complex_irreps(group), strict=True):
        assert first.matrices.tobytes() == second.matrices.tobytes()
        assert first.character.tobytes() == second.character.tobytes()
    for a, b in zip(lattice, subgroup_classes(group), strict=True):
        assert a.length == b.length
        assert np.array_equal(a.members, b.members)


def test_switched_off_or_unwritable_it_computes_with_at_most_one_warning(tmp_path, monkeypatch):
    calls, compute = counted()
    monkeypatch.setenv("STL_ALGEBRA_CACHE", "off")
    assert cache_folder() is None
    for _ in range(2):
        cached_arrays("test", 1, "key", compute)
    assert len(calls) == 2
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STL_ALGEBRA_CACHE", str(tmp_path / "file" / "below"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for key in ("one", "two"):
            same_bits(cached_arrays("test", 1, key, compute), ARRAYS)
    assert len(calls) == 4
    assert [w.category for w in caught] == [UserWarning]


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("STL_ALGEBRA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "stl-algebra"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "stl-algebra"


WRITER = """
import sys, time
import numpy as np
from stl_algebra import files
from stl_algebra.cache import cached_arrays

if sys.argv[1] == "hang":
    real = files.os.fsync
    def fsync(handle):
        # Half of the file is on disk, its final name is not.
        files.os.ftruncate(handle, 4000)
        real(handle)
        print("writing", flush=True)
        time.sleep(600)
    files.os.fsync = fsync
rounds = int(sys.argv[2])
for number in range(rounds):
    arrays = {"a": np.random.default_rng(number).normal(size=(100, 100)) + 1j}
    got = cached_arrays("shared", 1, str(number), lambda: arrays)
    assert got["a"].tobytes() == arrays["a"].tobytes(), number
print("done", flush=True)
"""


def writer(mode, rounds):
    command = [sys.executable, "-c", WRITER, mode, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_at_once(folder):
    both = [writer("run", 60) for _ in range(2)]
    for process in both:
        printed, _ = process.communicate(timeout=100)
        assert process.returncode == 0
        assert printed == "done\n"
    assert len(list(folder.iterdir())) == 60


@pytest.mark.slow
def test_a_killed_writer_leaves_nothing_that_is_trusted(folder):
    with writer("hang", 1) as process:
        assert process.stdout.readline() == "writing\n"
        os.kill(process.pid, signal.SIGKILL)
    (left,) = folder.iterdir()
    assert left.name.startswith(".")
    expected = {"a": np.random.default_rng(0).normal(size=(100, 100)) + 1j}
    calls, compute = counted(expected)
    same_bits(cached_arrays("shared", 1, "0", compute), expected)
    assert len(calls) == 1
    # What it left is deleted by a later writer once nobody can still be writing it.
    assert left.exists()
    old = time.time() - cache._ABANDONED_AFTER - 1
    os.utime(left, (old, old))
    cached_arrays("shared", 1, "1", compute)
    assert not left.exists()
    assert len(list(folder.iterdir())) == 2


def test_files_are_plain_tensors(folder):
    _, compute = counted()
    cached_arrays("test", 1, "key", compute)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert {v["dtype"] for k, v in header.items() if k != "__metadata__"} <= {"F64", "I64", "BOOL"}
