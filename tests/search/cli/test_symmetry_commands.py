"""`stl-search symmetry`, `stl-search balance` and `stl-search find --symmetry`."""

import json

import pytest

from stl_algebra.algorithms.balance import PARENT
from stl_algebra.algorithms.encoders_file import load_encoders, save_encoders
from stl_algebra.exact.catalogue import laderman, strassen
from stl_algebra.published import encoders
from tests.search.cli.calling import call


@pytest.mark.slow
def test_symmetry_of_the_48(tmp_path):
    data = json.loads(call("symmetry", "4x4x4-r48", "--json").stdout)
    assert data["order"] == 64
    assert not data["infinite"]
    assert data["preserving"]["order"] == 32
    assert data["preserving"]["element_orders"]["2"] == 19
    assert data["preserving"]["small_group"] == [32, 49]
    assert [o["size"] for o in data["orbits"]] == [32, 16]
    assert data["modes"] == ["W^T X^T Z^T", "X W Z"]
    shown = call("symmetry", "4x4x4-r48").output
    assert "64 symmetries" in shown
    assert "orbits of products: 32 + 16" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "order", "name", "orbits"),
    [(strassen, 36, "S3^2", [6, 1]), (laderman, 24, "S4", [8, 6, 4, 4, 1])],
)
def test_symmetry_of_files_and_of_algorithms_by_their_authors(tmp_path, made, order, name, orbits):
    path = save_encoders(tmp_path / "known.safetensors", made())
    for source in (path, made.__name__):
        data = json.loads(call("symmetry", source, "--json").stdout)
        assert (data["order"], data["group"]["names"][0]) == (order, name)
        assert [o["size"] for o in data["orbits"]] == orbits


@pytest.mark.slow
def test_balance_writes_a_companion_that_names_its_parent(tmp_path):
    path = tmp_path / "balanced.safetensors"
    data = json.loads(call("balance", "4x4x4-r49", "--out", path, "--json").stdout)
    assert data["amplification"]["after"] == pytest.approx((25 / 9) ** 2)
    stored = load_encoders(path)
    assert not stored.exactness["exact"]
    assert stored.algorithm.provenance.parameters[PARENT]["digest"] == encoders("4x4x4", 49).digest
    assert stored.algorithm.provenance.command.startswith("stl-search")


@pytest.mark.slow
def test_find_with_a_name_and_with_a_file(tmp_path):
    path = save_encoders(tmp_path / "known.safetensors", strassen())
    for symmetry in ("strassen", path):
        folder = tmp_path / f"found-{len(str(symmetry))}"
        arguments = ("--rank", 7, "--symmetry", symmetry, "--orbits", "6+1", "--out", folder, "--json")
        outcome = call("find", "2", *arguments, "--budget", "10m")
        assert outcome.exit_code == 0, outcome.output
        data = json.loads(outcome.stdout)
        assert data["exact"]
        assert load_encoders(data["file"]).algorithm.provenance.parameters["orbit_sizes"] == [6, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--symmetry", "nobody"), "strassen, laderman, rational-48"),
        (("--orbits", "6+1"), "--symmetry"),
        (("--symmetry", "strassen", "--orbits", "six"), "32+16"),
        (("--symmetry", "strassen", "--afresh"), "--afresh"),
        (("--restrict", "--afresh"), "--restrict"),
        (("--symmetry", "laderman"), "one of <2,2,2>"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, arguments, words):
    outcome = call("find", "2", "--out", tmp_path / "out", *arguments)
    assert outcome.exit_code == 2
    assert words in outcome.output
