"""What `make demo` runs is run, in order, in a folder of its own, with small settings in place of minutes."""

import contextlib
import re
import runpy
import shlex
import webbrowser
from pathlib import Path

import pytest

from stl_kernels.device.peaks import Peaks
from stl_search.cli import main
from tests.search.cli.calling import call

ROOT = Path(__file__).parents[1]
DEMO = re.search(r"^demo:.*?\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)[1]
LINES = DEMO.replace("\\\n", " ").splitlines()
COMMANDS = [line.split("stl-search ", 1)[1] for line in LINES if "$(BIN)/stl-search" in line]
SCRIPTS = [line.split("$(BIN)/python ", 1)[1] for line in LINES if "$(BIN)/python" in line]

#: What would take minutes: (pattern, in its place).
INSTEAD = (
    (r"find 4x4x4 --rank 48 --symmetry rational-48", "find 2 --rank 7 --symmetry strassen"),
    (r"4x4x4-r48", "2x2x2-r7"),
    (r"--shape 1024", "--shape 16"),
    (r"--compare", "--tokens 512"),
)


def small(command):
    for pattern, other in INSTEAD:
        command = re.sub(pattern, other, command)
    return command


def run_script(line, monkeypatch):
    path, *arguments = shlex.split(line)
    monkeypatch.setattr("sys.argv", [path, *arguments])
    # Click ends a program so; whether it did what it should is seen from its files.
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(ROOT / path), run_name="__main__")


def test_the_demo_tells_of_seven_things_each_with_its_heading():
    headings = re.findall(r"== (\d) of 7: ", DEMO)
    assert headings == list("1234567")
    names = [command.split()[0] for command in COMMANDS]
    assert names == ["group", "run", "find", "verify", "symmetry", "bench", "bench", "convert"]


@pytest.mark.slow
def test_every_stage_runs_and_gives_the_next_one_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rates = Peaks("cpu", {"float32": 1e10}, 1e10, 1e-6, "made up")
    monkeypatch.setattr("stl_kernels.load_peaks", lambda device: rates)
    monkeypatch.setattr("stl_kernels.measure_and_store_peaks", lambda dtype, device: (rates, Path("peaks")))
    train, show = SCRIPTS
    for command in COMMANDS:
        if command.startswith("convert"):
            run_script(f"{train} --steps 2 --width 16", monkeypatch)
        if command.startswith("run "):
            # Only read: searches of this kind are run by the tests of that command.
            main.get_command(None, "run").make_context("run", shlex.split(command)[1:])
            continue
        outcome = call(*shlex.split(small(command)))
        assert outcome.exit_code == 0, f"{command}\n{outcome.output}"
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    run_script(show, monkeypatch)
    assert "demo-run/small/converted/report.html" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("display", ["", ":0"])
def test_a_page_is_opened_only_where_there_is_a_screen(display, tmp_path, monkeypatch, capsys):
    (tmp_path / "page.html").write_text("<p>")
    opened = []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.argv", ["open_page.py", str(tmp_path / "page.html")])
    runpy.run_path(str(ROOT / "examples" / "open_page.py"), run_name="__main__")
    assert len(opened) == bool(display)
    assert str(tmp_path / "page.html") in capsys.readouterr().out
