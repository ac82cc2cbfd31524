"""What a reader of README.md and docs/start.md does, and how long it takes: from a clone, and from a wheel.

Every line is read from the documents and run as it stands there, in new folders and environments. Packages
come from where pip is set up to look, so times include downloads; versions are those of constraints.txt.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_kernels.speed.timing import environment

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\{code-cell\})?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(page: str) -> tuple[list[str], list[list[str]]]:
    """Commands of plain fences, and the cells of a page as lines; "!" begins a command."""
    plain: list[str] = []
    cells: list[list[str]] = []
    for fence in _FENCE.finditer(page):
        lines = fence[2].strip().splitlines()
        if fence[1]:
            cells.append([line for line in lines if not line.startswith(":")])
        else:
            plain += lines
    return plain, cells


def programs(cells: list[list[str]]) -> tuple[str, list[str]]:
    """The cells' Python as one program, as a kernel runs them, and their commands, which come last."""
    python = "\n".join(line for cell in cells for line in cell if not line.startswith("!"))
    return python, [line[1:] for cell in cells for line in cell if line.startswith("!")]


def run(work: Path) -> dict[str, float]:
    """Seconds of every step, in a folder that is empty before.

    Raises:
        subprocess.CalledProcessError: a step that the documents show does not work.
    """
    clone, empty, fresh = work / "clone", work / "empty", work / "fresh"
    empty.mkdir()
    plain, cells = read((ROOT / "docs" / "start.md").read_text(encoding="utf-8"))
    python, commands = programs(cells)
    in_clone = [line for line in plain if line.startswith("make ")]
    # The second line adds an extra to what the first has installed.
    installs = [line for line in plain if line.startswith("pip install ")][:1]
    inside = {"PATH": f"{fresh / 'bin'}{os.pathsep}{os.environ['PATH']}", "MPLBACKEND": "Agg"}
    seconds: dict[str, float] = {}

    def step(name: str, command: str, folder: Path, **environment: str) -> None:
        print(f"{name}: {command[:100]}", flush=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        start = time.perf_counter()
        subprocess.run(command, shell=True, cwd=folder, env=inherited | environment, check=True)
        seconds[name] = round(seconds.get(name, 0) + time.perf_counter() - start, 1)

    step("clone", f"git clone --quiet '{ROOT}' '{clone}'", work)
    for line in in_clone:
        step(line, f"{line} PYTHON={sys.executable}", clone)
    if not (clone / "demo-run" / "report.html").is_file():
        raise FileNotFoundError("make demo has written no demo-run/report.html")

    held = {"PIP_CONSTRAINT": str(clone / "constraints.txt")}
    step("environment", f"{sys.executable} -m venv '{fresh}'", work)
    step("wheel", f"pip wheel --quiet --no-deps --wheel-dir '{empty}' '{clone}'", empty, **inside)
    for line in installs:
        step("pip install", f"{line} --quiet", empty, **inside, **held)
    (empty / "start.py").write_text(python, encoding="utf-8")
    step("Python of the page", "python start.py", empty, **inside)
    for line in commands:
        step("commands of the page", line, empty, **inside)
    return seconds


def main() -> int:
    """Measure, and write results/newcomer.json."""
    with tempfile.TemporaryDirectory() as work:
        seconds = run(Path(work))
    record = {
        **environment("cpu", "python -m benchmarks.newcomer"),
        "stl_algebra": __version__,
        "results": {"seconds": seconds, "total": round(sum(seconds.values()), 1)},
    }
    print(write_atomically(ROOT / "results" / "newcomer.json", json.dumps(record, indent=1) + "\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
