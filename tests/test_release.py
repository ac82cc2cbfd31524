"""What is released: a wheel and a source distribution that work where the repository is not."""

import configparser
import hashlib
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import numpy as np
import pytest

from stl_algebra import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("stl_algebra", "stl_kernels", "stl_models", "stl_search")
EXTRAS = {"models", "training", "postgres", "bench", "docs", "dev"}

#: Run in an empty folder by the fresh environment's Python: what README shows first.
FIRST_STEPS = """
import importlib, sys
from pathlib import Path

import torch

prefix = Path(sys.prefix).resolve()
for name in ("stl_algebra", "stl_kernels", "stl_models", "stl_search"):
    place = Path(importlib.import_module(name).__file__).resolve()
    assert prefix in place.parents, f"{name} comes from {place}"

from stl_algebra import TileFormat, encoders, verify
from stl_algebra.exact.catalogue import exact_algorithm
from stl_kernels import STLLinear

assert encoders("4x4x4", rank=32).rank == 32
assert verify(exact_algorithm(TileFormat.parse("3x4x5"))).exact
assert verify(encoders("4x4x4", rank=48)).exact
dense = torch.nn.Linear(16, 12).double()
x = torch.randn(8, 16, dtype=torch.float64)
error = (STLLinear.from_linear(dense, "4x4x4-r48")(x) - dense(x)).norm() / dense(x).norm()
assert error < 1e-12, error
"""


def run(command, folder, **environment):
    """What a command printed, without what this environment would hand down."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tracked():
    """Files that git keeps, as paths from the root."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git and a clone: a release is made of tracked files")
    return run(["git", "ls-files"], ROOT).splitlines()


@pytest.fixture(scope="module")
def source(tracked, tmp_path_factory):
    """A copy to build in: the checkout may hold what a release must not, and is left as it is."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build_wheel(of, folder):
    """With the setuptools that is installed here, and nothing fetched."""
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir")
    run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, of], folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    pytest.importorskip("setuptools", reason="the dev extra's setuptools builds the release")
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    run([sys.executable, "-c", code], source)
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the source distribution, as one who has only that would."""
    return build_wheel(sdist, tmp_path_factory.mktemp("wheel"))


def contents(wheel):
    """Digests by name, without the list of digests itself."""
    with zipfile.ZipFile(wheel) as held:
        names = [n for n in held.namelist() if not n.endswith("/") and not n.endswith(".dist-info/RECORD")]
        return {name: hashlib.sha256(held.read(name)).hexdigest() for name in names}


def packaged(tracked):
    return {name for name in tracked if name.startswith(tuple(f"{p}/" for p in PACKAGES))}


@pytest.mark.slow
def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(wheel, source, tracked, tmp_path):
    held = contents(wheel)
    assert {name for name in held if ".dist-info/" not in name} == packaged(tracked)
    assert sum(name.endswith(".safetensors") for name in held) > 100
    # From the source distribution or from the repository: byte for byte the same.
    assert contents(build_wheel(source, tmp_path)) == held


@pytest.mark.slow
def test_the_source_distribution_holds_what_the_wheel_is_made_of(sdist, tracked):
    with tarfile.open(sdist) as held:
        names = {member.name.partition("/")[2] for member in held if member.isfile()}
    made = {name for name in names if ".egg-info/" in name or name == "PKG-INFO"}
    beside = {"setup.cfg", "pyproject.toml", "MANIFEST.in", "constraints.txt"} | {
        "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
    }  # fmt: skip
    assert names - made == packaged(tracked) | beside


@pytest.mark.slow
def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as held:
        (name,) = [n for n in held.namelist() if n.endswith(".dist-info/METADATA")]
        said = message_from_string(held.read(name).decode())
        assert any(n.endswith("/LICENSE") for n in held.namelist())
    assert said["Version"] == __version__
    assert set(said.get_all("Provides-Extra")) == EXTRAS
    assert said["Requires-Python"] == ">=3.11"
    tested = {line.rpartition(" ")[2] for line in said.get_all("Classifier")}
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in tested


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment_without_the_repository(wheel, tmp_path):
    fresh, empty = tmp_path / "fresh", tmp_path / "empty"
    empty.mkdir()
    run([sys.executable, "-m", "venv", "--without-pip", fresh], tmp_path)
    python, command = fresh / "bin" / "python", fresh / "bin" / "stl-search"
    options = ("--quiet", "--no-index", "--no-deps", "--no-cache-dir")
    run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel], tmp_path)
    # The dependencies are those of this environment. A folder that a .pth file names is searched after the
    # fresh one, and no .pth file in it is read: an editable install of the checkout is one, and does nothing.
    (packages,) = (fresh / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    cache = {"STL_ALGEBRA_CACHE": str(tmp_path / "cache")}

    run([python, "-c", FIRST_STEPS], empty, **cache)
    assert run([command, "--version"], empty, **cache).strip().endswith(__version__)
    search = ("run", "--group", "S3", "--tile", "2", "--rank", "7", "--trials", "1", "--seed", "11")
    rng = np.random.default_rng(0)
    np.savez(empty / "layer.npz", x=rng.normal(size=(64, 16)), w=rng.normal(size=(16, 12)))
    run([command, *search, "--matrices", "layer.npz", "--out", "seven"], empty, **cache)
    assert "<html" in (empty / "seven" / "report.html").read_text(encoding="utf-8")
    found = empty / "seven" / "encoders" / "2x2x2-r7.safetensors"
    said = run([command, "evaluate", found, "--matrices", "layer.npz", "--json"], empty, **cache)
    assert "exact tiles" in said


def test_the_version_is_one_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE).group(1) == __version__
    assert re.search(r"^## (\S+) \(", changes, re.MULTILINE).group(1) == __version__
    named = re.findall(
        r"stl_algebra-(\d[\d.]+\d)-py3", (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    )
    assert named
    assert set(named) == {__version__}


def test_the_documents_name_extras_that_there_are():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    there = set(setup["options.extras_require"])
    assert there == EXTRAS
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    files += [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    named = re.findall(
        r"stl-algebra\[([\w,]+)\]", "".join(path.read_text(encoding="utf-8") for path in files)
    )
    assert len(named) >= 4
    assert {extra for names in named for extra in names.split(",")} <= there
