"""A conversion that is stopped at any moment, by a signal, a kill or a full disk, ends the same later."""

import errno
import hashlib
import os
import re
import resource
import signal
import subprocess
import sys

import pytest
import torch

from stl_algebra.errors import Unavailable
from stl_models import ConversionConfig, convert_
from stl_models.folders import Calibration, convert_folder
from stl_models.statistics.keeping import FileKeep

#: Converts the folder of its first argument, and stops itself by its second at its third moment.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from stl_models import ConversionConfig
from stl_models.folders import Calibration, convert_folder
from stl_models.storage import saving
folder, number, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def stop(*_):
    os.kill(os.getpid(), number)
def progress(what, done, of):
    if moment == f"{what.split(',')[0]} {done}":
        stop()
if moment == "writing":
    replace = os.replace
    os.replace = lambda a, b: stop() if "block-00001" in str(b) else replace(a, b)
convert_folder(folder / "model", Calibration(folder / "text.txt", 512, 16, 8), folder / "out",
               ConversionConfig(ratio=2.0, held_out=0.25), progress=progress)
"""
CONFIG = ConversionConfig(ratio=2.0, held_out=0.25)


def convert(folder, out, progress=None):
    calibration = Calibration(folder / "text.txt", 512, 16, 8)
    convert_folder(folder / "model", calibration, folder / out, CONFIG, progress=progress)
    return digests(folder / out)


def digests(folder):
    files = sorted(p for p in folder.iterdir() if p.suffix == ".safetensors" or p.name == "config.json")
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def folder(llama, make_folder):
    return make_folder(llama)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["gradients 0", "curves 2", "blocks 0", "writing", "blocks 1", "blocks 2"])
def test_killed_at_any_moment(folder, moment):
    before = digests(folder / "model")
    done = subprocess.run([sys.executable, "-c", PROGRAM, folder, str(int(signal.SIGKILL)), moment])
    assert done.returncode == -signal.SIGKILL
    assert not (folder / "out" / "config.json").exists()
    shards = len(list((folder / "out").glob("model-block-*.safetensors")))
    assert shards == {"writing": 1, "blocks 1": 1, "blocks 2": 2}.get(moment, 0)
    assert convert(folder, "out") == convert(folder, "at once")
    assert not list((folder / "out").glob(".*"))
    assert digests(folder / "model") == before


@pytest.mark.slow
@pytest.mark.parametrize("recipes", [("exact",), ("exact", "pivoted-low-rank")])
def test_the_time_of_a_block_is_said_before_it(llama, batches, recipes):
    said = []

    def progress(what, done, of):
        if what.startswith("blocks, "):
            said.append((done, what))

    config = ConversionConfig(ratio=1.3, recipes=recipes, held_out=0.25)
    report = convert_(llama, config, batches, progress=progress)
    assert [done for done, _ in said] == [0, 1]
    assert all(re.fullmatch(r"blocks, (about [\d.]+|less than 0.1) s each", words) for _, words in said)
    blocks = list(report.blocks.values())
    assert all(block["expected_seconds"] > 0 for block in blocks)
    assert blocks[1]["expected_seconds"] == blocks[0]["seconds"]


class Stopped(BaseException):
    """Neither an error of ours nor of Python's: nothing on the way may catch it."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(1, 8))
def test_stopped_at_any_step(folder, moment):
    seen = []

    def progress(what, done, of):
        seen.append(what)
        if what.startswith("blocks, "):
            assert float(re.findall(r"[\d.]+", what)[0]) > 0
        if len(seen) == moment:
            raise Stopped

    try:
        convert(folder, "out", progress)
    except Stopped:
        assert not (folder / "out" / "config.json").exists()
        assert convert(folder, "out") == convert(folder, "at once")
    assert moment <= len(seen)


@pytest.mark.slow
def test_ctrl_c_ends_the_command_with_one_line(folder):
    program = (
        "import os, signal, sys\n"
        # A suite that runs in the background has it ignored, and its processes inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from stl_models.storage import saving\n"
        "save = saving.Folder.save\n"
        "def stop(*args):\n    save(*args)\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "saving.Folder.save = stop\n"
        "from stl_search.cli.main import main\nmain()\n"
    )
    arguments = ["convert", str(folder / "model"), "--calibrate", str(folder / "text.txt"), "--length", "16",
                 "--tokens", "512", "--out", str(folder / "out")]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "1 block is finished" in done.stderr
    assert len(list((folder / "out").glob("model-block-*.safetensors"))) == 1
    command = [sys.executable, "-c", "from stl_search.cli.main import main; main()", *arguments]
    assert subprocess.run(command, capture_output=True).returncode == 0
    arguments[-1] = str(folder / "at once")
    command = [sys.executable, "-c", "from stl_search.cli.main import main; main()", *arguments]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert digests(folder / "out") == digests(folder / "at once")


@pytest.mark.slow
@pytest.mark.parametrize("fails", range(1, 9))
def test_a_disk_that_is_full_at_any_write(folder, monkeypatch, fails):
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) == fails:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            convert(folder, "out")
    assert not list((folder / "out").glob(".*"))
    assert convert(folder, "out") == convert(folder, "at once")


@pytest.mark.slow
def test_a_file_that_the_kernel_refuses(folder):
    limit = (folder / "model" / "config.json").stat().st_size + 8000
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder, "0", ""], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Unavailable: cannot write" in done.stderr.splitlines()[-1]
    assert convert(folder, "out") == convert(folder, "at once")


def test_scratch_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write"):
        FileKeep(tmp_path / "file").put(torch.zeros(3))
