"""Listing encoders of folders: the best of every rank, and the part that was asked for."""

import json
from dataclasses import replace

import pytest

from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.scores import total
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm, strassen
from stl_search.frontier.listing import Wanted, listed
from tests.search.cli.calling import call

ROUGH = strassen().with_factors(decode=strassen().decode * (1 + 1e-2))
SEARCHED = ROUGH.renamed(
    "searched", replace(ROUGH.provenance, family="orbits", groups=("S3",), command="stl-search run --rank 7")
)
WIDE = exact_algorithm(TileFormat(2, 2, 3))


@pytest.fixture
def folder(tmp_path):
    save_encoders(tmp_path / "one" / "exact.safetensors", strassen())
    save_encoders(tmp_path / "two" / "rough.safetensors", SEARCHED)
    save_encoders(tmp_path / "two" / "wide.safetensors", WIDE)
    save_encoders(tmp_path / "two" / "eight.safetensors", definition(TileFormat(2, 2, 2)))
    return tmp_path


def ranks(folder, **wanted):
    return [(row["tile"], row["rank"]) for row in listed([folder], "bf16", Wanted(**wanted))]


def test_the_best_of_every_format_and_rank_is_listed(folder):
    assert ranks(folder) == [("2x2x2", 7), ("2x2x2", 8), ("2x2x3", 11)]
    rows = listed([folder / "two", folder / "one"], "bf16")
    assert rows[0]["total"] == total(strassen(), "bf16")
    assert rows[0]["file"].endswith("exact.safetensors")
    with pytest.raises(InvalidInput, match="nowhere"):
        listed([folder / "nowhere"], "bf16")


def test_every_filter_leaves_what_it_names(folder):
    assert ranks(folder, tiles=(TileFormat(2, 2, 3),)) == [("2x2x3", 11)]
    assert ranks(folder, ratio=1.1) == [("2x2x2", 7)]
    assert ranks(folder, groups=("S3", "C2")) == ranks(folder, families=("orbits",)) == [("2x2x2", 7)]
    (row,) = listed([folder], "bf16", Wanted(groups=("S3",)))
    assert (row["name"], row["command"], row["exact"]) == ("searched", "stl-search run --rank 7", False)
    assert ranks(folder, groups=("S3",), exact=True) == []
    assert ranks(folder, total=total(definition(TileFormat(2, 2, 2)), "bf16")) == [("2x2x2", 8)]


def test_the_command_takes_them_as_they_are_spelt(folder):
    rows = json.loads(call("frontier", folder, "--tile", "2", "--group", "S3", "--json").stdout)
    assert [row["name"] for row in rows] == ["searched"]
    shown = call("frontier", folder, "--family", "orbits", "--commands").stdout
    assert "2x2x2-r7: stl-search run --rank 7" in shown
    none = call("frontier", folder, "--least-ratio", "3")
    assert none.exit_code == 2
    assert "of that kind" in none.stderr
