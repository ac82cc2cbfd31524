"""Functions that take a group take its spelling, too, with the same result; one table holds the families."""

import numpy as np
import pytest

from stl_algebra import InvalidInput
from stl_algebra.groups import (
    NAME_TABLE,
    as_group,
    isomorphic,
    isomorphism,
    parse_group,
    standard_names,
    subgroup_classes,
    subgroups,
)
from stl_algebra.groups.families import FAMILIES
from stl_algebra.groups.grammar import GRAMMAR
from stl_algebra.representations import character_table, complex_irreps, fourier_basis, real_irreps
from stl_algebra.representations.character_values import exact_character_table

CACHED = (real_irreps, complex_irreps, fourier_basis, standard_names)


@pytest.mark.parametrize("function", CACHED)
def test_a_group_and_its_spellings_share_one_cached_result(function):
    first = function("S3 x C2")
    assert function(parse_group("S3xC2")) is first
    assert function(group="S3xC2") is first
    function.cache_clear()
    assert function("S3xC2") is not first


def test_functions_of_a_group_take_a_spelling():
    group = parse_group("S4")
    assert np.array_equal(character_table("S4"), character_table(group))
    assert exact_character_table("S4") == exact_character_table(group)
    assert [c.order for c in subgroup_classes("S4")] == [c.order for c in subgroup_classes(group)]
    assert len(subgroups("S4")) == len(subgroups(group)) == 30
    assert np.array_equal(isomorphism("S3", "D3"), isomorphism(parse_group("S3"), parse_group("D3")))
    assert isomorphic("S3", parse_group("D3"))
    assert not isomorphic("C6", "S3")


def test_tables_are_read_again(tmp_path):
    path = tmp_path / "t.csv"
    for name in ("C2", "C3"):
        np.savetxt(path, parse_group(name).table, fmt="%d", delimiter=",")
        assert len(real_irreps(f"table:{path}")) == 2
        assert character_table(f"table:{path}").shape == (parse_group(name).order,) * 2


@pytest.mark.parametrize(
    "function", [*CACHED, character_table, subgroup_classes, subgroups, as_group, exact_character_table]
)
@pytest.mark.parametrize(
    ("wrong", "words"), [("E5", "expected a name"), (5, "got int"), (None, "got NoneType")]
)
def test_what_is_no_group_is_refused_in_words(function, wrong, words):
    with pytest.raises(InvalidInput, match=words):
        function(wrong)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.symbol)
def test_the_table_of_families_is_true(family):
    assert family.help in GRAMMAR
    assert {parse_group(x).name for x in family.examples} == set(family.examples)
    for parameters in family.listed:
        name = family.spelling(*parameters)
        assert name in NAME_TABLE
        group = parse_group(name)
        assert group.name == name
        assert group.order == family.order(*parameters) <= 60
        for other in family.other_names(*parameters):
            assert isomorphic(other, group)
        if not group.is_abelian:
            assert parameters in list(family.of_order(group.order))
            assert name in standard_names(group)
