"""`stl-search groups` and `group`, pictures of Cayley graphs, isomorphic groups in a run."""

import json

import numpy as np
import pytest

from stl_algebra.groups import isomorphic, parse_group, standard_names
from stl_algebra.representations import real_irreps
from stl_search.pictures.cayley import save_picture
from stl_search.pictures.layout import _even_point, edges, layout
from stl_search.study.plan import Settings
from tests.search.cli.calling import call


@pytest.mark.slow
def test_group_prints_names_subgroups_exact_characters_and_blocks():
    shown = call("group", "D5").output
    for words in ("isomorphic to: F10, C5:C2", "a of order 5, b of order 2", "8 subgroups in 4 classes"):
        assert words in shown
    for words in ("(-1+√5)/2", "M_2(R)", "16 multiplications"):
        assert words in shown
    assert "isomorphic to" not in call("group", "C5").output
    assert "isomorphic to: PGL(2,3), AGL(2,2), ASL(2,2)\n" in call("group", "S4").output
    assert "ζn is exp(2πi/n)" in call("group", "A4").output


@pytest.mark.slow
def test_group_shows_its_number_in_the_library_of_gap_and_what_dihedral_names_mean():
    shown = call("group", "D8").output
    assert "GAP: SmallGroup(16, 7)\n" in shown
    assert "order 16: GAP prints it as D16; GAP's D8, of order 8, is D4 here." in shown
    assert "GAP: SmallGroup(12, 1)\n" in call("group", "C3 : C4").output
    unnumbered = call("group", "C2^6")
    assert unnumbered.exit_code == 0
    assert "GAP" not in unnumbered.output
    refused = call("group", "DihedralGroup(8)")
    assert refused.exit_code == 2
    assert "D4 has order 8" in refused.stderr


def test_group_as_json_has_all_of_it():
    data = json.loads(call("group", "SL(2,3)", "--json").stdout)
    assert data["small_group"] == [24, 3]
    assert data["note"] == ""
    assert sum(s["conjugates"] for s in data["subgroups"]) == 15
    quaternions = {"order": 8, "index": 3, "conjugates": 1, "normal": True, "type": "Q8"}
    assert quaternions.items() <= data["subgroups"][5].items()
    assert sorted({v for row in data["characters_exact"] for v in row}) == sorted(
        {"0", "1", "-1", "2", "-2", "3", "ζ3", "ζ3^2", "-ζ3", "-ζ3^2"}
    )
    values = np.array(data["characters"])
    assert values.shape == (7, 7, 2)
    assert [c["name"] for c in data["classes"]] == ["1a", "2a", "3a", "3b", "4a", "6a", "6b"]
    assert [r["type"] for r in data["real_irreps"]].count("quaternionic") == 1
    assert [g["order"] for g in data["generators"]] == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C32", "D31", "F42"])
def test_wide_character_tables_are_folded(name, monkeypatch):
    from stl_search.cli import groups

    monkeypatch.setattr(groups.out, "_width", 80)
    lines = call("group", name).output.splitlines()
    table = lines[lines.index(next(x for x in lines if x.startswith("Characters"))) :]
    assert max(map(len, table)) <= 80
    heads = [word for line in table if line.strip().startswith("type  ") for word in line.split()[1:]]
    heads = [h for h in heads if h[0].isdigit()]
    assert len(heads) == len(parse_group(name).classes)


@pytest.mark.slow
def test_many_subgroups_are_summed_up_or_left_out():
    summed = call("group", "C2^5").output
    assert "374 subgroups in 374 classes" in summed
    assert "155" in summed
    assert "Subgroups: more than 5000" in call("group", "C2^7").output


@pytest.mark.slow
def test_listing_of_an_order():
    rows = json.loads(call("groups", "--order", 16, "--json").stdout)
    assert len({standard_names(parse_group(r["name"])) for r in rows}) == 14
    assert "No group of order 61" in call("groups", "--order", 61).output
    for wrong in (-1, 0, "many"):
        outcome = call("groups", "--order", wrong)
        assert outcome.exit_code == 2
        assert "--order" in outcome.stderr


@pytest.mark.slow
def test_wrong_names_and_pictures_get_one_line(tmp_path):
    outcome = call("group", "s3")
    assert outcome.exit_code == 2
    assert outcome.stderr.strip().endswith("did you mean S3?")
    outcome = call("group", "S3", "--picture", tmp_path / "s3.bmp")
    assert outcome.exit_code == 2
    assert ".svg, .png, .html" in outcome.stderr
    (tmp_path / "file").write_text("in the way")
    outcome = call("group", "S3", "--picture", tmp_path / "file" / "s3.svg")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: cannot write")


LAID_OUT = [
    *(
        "C1",
        "C2",
        "C12",
        "C2^3",
        "C2^6",
        "C4xC2",
        "C5^2",
        "S3",
        "S4",
        "A4",
        "A5",
        "Q8",
        "C7:C3",
        "D6",
        "S4xC2",
    ),
    "SL(2,3)",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", LAID_OUT)
def test_layouts_put_no_two_elements_in_one_place(name):
    group = parse_group(name)
    placed = layout(group)
    assert placed.positions.shape == (group.order, 2)
    assert np.abs(placed.positions).max() <= 1 + 1e-9
    distances = np.linalg.norm(placed.positions[:, None] - placed.positions, axis=2)
    assert distances[np.triu_indices(group.order, 1)].min(initial=1) > 0.3 / group.order
    assert np.array_equal(layout(group).positions, placed.positions)


@pytest.mark.parametrize("name", ["S4", "Q8", "C2^3"])
def test_edges_are_products_with_the_generator(name):
    group = parse_group(name)
    for g in group.generators:
        drawn = edges(group, g)
        assert all(group.table[x, g] == y for x, y in drawn)
        assert len(drawn) == group.order // (2 if group.element_orders[g] == 2 else 1)


@pytest.mark.parametrize("name", ["A4", "S4", "A5"])
def test_rotation_groups_are_drawn_as_archimedean_solids(name):
    # All edges have one length and no two vertices are nearer: truncated tetrahedron, cube, icosahedron.
    group = parse_group(name)
    solids = [r.matrices for r in real_irreps(group) if r.dimension == 3]
    assert min(_even_point(group, m)[0] for m in solids) == pytest.approx(1, abs=1e-3)
    assert np.ptp(layout(group).nearness) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("html", b"<!doctype html>")]
)
def test_pictures_are_files_of_their_kind(tmp_path, ending, start):
    path = save_picture(parse_group("C7:C3"), tmp_path / f"g.{ending}")
    content = path.read_bytes()
    assert content.startswith(start)
    if ending == "html":
        assert b'src="http' not in content.split(b"</script>")[-1]
        assert b"a of order 7" in content


def test_isomorphic_groups_are_searched_once():
    settings = Settings(("S3", "D3", "C2xC3", "C6", "Q8"), "2", 6, "bf16", 0, ("fourier",))
    assert settings.groups == ("S3", "C2xC3", "Q8")
    assert not any(
        isomorphic(parse_group(a), parse_group(b)) for a in settings.groups for b in settings.groups if a != b
    )


@pytest.mark.slow
def test_run_says_which_groups_are_the_same(tmp_path):
    outcome = call(
        "run", "--group", "S3", "--group", "D3", "--tile", "2", "--rank", "7", "--family", "fourier",
        "--trials", "1", "--matrices", "rademacher", "--out", tmp_path,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "D3 is the same group as S3: searched once" in outcome.stderr
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["settings"]["groups"] == ["S3"]
