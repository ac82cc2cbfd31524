"""Subgroups: known numbers, an independent search by joins, properties; isomorphism and recognition."""

from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import TooLarge
from stl_algebra.groups import (
    NAME_TABLE,
    FiniteGroup,
    isomorphic,
    isomorphism,
    parse_group,
    standard_names,
    subgroup_classes,
    subgroups,
)
from stl_algebra.groups.isomorphism import one_of_each_type
from stl_algebra.groups.recognition import _SPORADIC, _abelian_names, _family_names, direct_factors
from tests.algebra.groups.group_strategies import spellings, write_tables

#: (subgroups, conjugacy classes), from the literature.
KNOWN = {
    "C1": (1, 1), "C12": (6, 6), "C2^4": (67, 67), "C3^3": (28, 28), "D4": (10, 8), "Q8": (6, 6),
    "A4": (10, 5), "S4": (30, 11), "SL(2,3)": (15, 7), "GL(2,3)": (55, 16), "A5": (59, 9),
    "S5": (156, 19), "SL(2,5)": (76, 12),
    "PSL(2,7)": (179, 15), "A6": (501, 22), "S6": (1455, 56), "C2^6": (2825, 2825), "He(3)": (19, 11),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_numbers_of_subgroups(name):
    found = subgroup_classes(parse_group(name))
    assert (sum(c.length for c in found), len(found)) == KNOWN[name]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    return folder


def all_by_joins(group):
    """Every subgroup, from joins of cyclic ones alone."""
    cyclic = {tuple(group.generated([g]).tolist()) for g in range(group.order)}
    found = set(cyclic)
    queue = list(cyclic)
    for members in queue:
        for g in range(group.order):
            if g not in members:
                joined = tuple(group.generated([*members, g]).tolist())
                if joined not in found:
                    found.add(joined)
                    queue.append(joined)
    return found


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(spelled=spellings(36))
def test_random_groups_have_exactly_the_subgroups_that_joins_reach(tables, spelled):
    group = parse_group(spelled[0].replace("{d}", str(tables)))
    found = subgroups(group)
    assert {tuple(m.tolist()) for m in found} == all_by_joins(group)
    assert len({m.tobytes() for m in found}) == len(found)
    for c in subgroup_classes(group):
        conjugates = {tuple(sorted(group.conjugates[g, c.members].tolist())) for g in range(group.order)}
        assert {tuple(m.tolist()) for m in c.conjugates()} == conjugates
        assert c.length == len(conjugates)
        assert c.is_normal == (len(conjugates) == 1)
        assert c.order * c.index == group.order
        assert np.array_equal(group.generated(c.generators), c.members)
        own = FiniteGroup(c.as_group().table)  # checks the axioms
        assert own.order == c.order


@pytest.mark.parametrize(("name", "dividing"), [("S4", [8]), ("C2^4", [4]), ("A5", [4, 6]), ("S5", [12, 20])])
def test_subgroups_of_some_orders_are_those_of_all_that_have_them(name, dividing):
    group = parse_group(name)
    expected = [m.tolist() for m in subgroups(group) if any(d % len(m) == 0 for d in dividing)]
    assert [m.tolist() for m in subgroups(group, dividing=dividing)] == expected


@pytest.mark.slow
def test_a_limit_stops_the_search():
    with pytest.raises(TooLarge, match="more than the limit of 100"):
        subgroups(parse_group("C2^9"), limit=100)
    with pytest.raises(TooLarge, match="limit of 9"):
        subgroups(parse_group("D4"), limit=9)
    assert len(subgroups(parse_group("D4"), limit=10)) == 10
    assert len(subgroups(parse_group("C2^7"), limit=128, dividing=[2])) == 128


def relabelled(group, seed):
    new = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(group.order - 1)])
    table = np.empty_like(group.table)
    table[np.ix_(new, new)] = new[group.table]
    return FiniteGroup(table)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(spelled=spellings(120), seed=st.integers(0, 1000))
def test_relabelled_groups_are_isomorphic_by_a_bijective_homomorphism(tables, spelled, seed):
    group = parse_group(spelled[0].replace("{d}", str(tables)))
    other = relabelled(group, seed)
    mapped = isomorphism(group, other)
    assert mapped is not None
    assert np.array_equal(np.sort(mapped), np.arange(group.order))
    assert np.array_equal(mapped[group.table], other.table[np.ix_(mapped, mapped)])
    assert standard_names(group) == standard_names(other)
    for name in standard_names(group):
        assert isomorphic(parse_group(name), group)
    factors = direct_factors(group)
    assert np.prod([f.order for f in factors], initial=1) == group.order


#: Isomorphism types of groups of order 1 .. 31.
TYPES = (1, 1, 1, 2, 1, 2, 1, 5, 2, 2, 1, 5, 1, 2, 1, 14, 1, 5, 1, 5, 2, 2, 1, 15, 2, 2, 5, 4, 1, 4, 1)


def grammar_of_order(n, smaller):
    """Names of order n: families, semidirect products of cyclic groups, products of smaller types."""
    names = [f"C{n}", *_family_names(n), *_SPORADIC.get(n, ())]
    for a in range(3, n):
        if n % a == 0:
            units = [u for u in range(2, a) if gcd(u, a) == 1 and pow(u, n // a, a) == 1]
            names += [f"C{a}:C{n // a}({u})" for u in units]
            names += [f"({x})x({y})" for x in smaller[a] for y in smaller[n // a]] if n // a > 1 else []
    if n == 4:
        names.append("C2^2")
    return names


@pytest.mark.slow
def test_every_group_of_order_below_32_has_a_name_and_no_two_share_one():
    listed = {standard_names(parse_group(name))[0] for name in NAME_TABLE}
    types = {}
    for n in range(1, 32):
        found = []
        for name in grammar_of_order(n, types):
            group = parse_group(name)
            first = standard_names(group)[0]
            assert parse_group(first).order == n
            if first not in found:
                assert not any(isomorphic(parse_group(f), group) for f in found), (name, first)
                assert first in listed, f"{first} is missing in NAME_TABLE"
                found.append(first)
        types[n] = found
    assert tuple(len(types[n]) for n in range(1, 32)) == TYPES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [("S3", "D3"), ("C6", "C2xC3"), ("A5", "PSL(2,5)"), ("Q8", "Dic2"), ("D4", "He(2)"), ("S3", "GL(2,2)"),
     ("D6", "S3xC2"), ("S4", "C2^2:S3(a->b,b->ab;a->b,b->a)"),
     ("PSL(2,7)", "perm:(1 2 3 4 5 6 7),(2 3)(4 7)"),
     ("C7:C3(2)", "C7:C3(4)"), ("A4", "C2^2:C3(a->b,b->ab)"), ("F20", "C5:C4(3)"), ("C1", "S1"),
     ("AGL(1,4)", "A4"), ("AGL(1,5)", "F20"), ("AGL(1,3)", "S3"), ("AGL(1,2)", "C2"), ("AGL(1,7)", "C7:C6"),
     ("AGL(1,8)", "C2^3:C7(a->b,b->c,c->ab)"), ("AGL(1,9)", "C3^2:C8(a->b,b->ab)")],
)  # fmt: skip
def test_isomorphic_spellings(one, other):
    mapped = isomorphism(parse_group(one), parse_group(other))
    assert mapped is not None
    assert standard_names(parse_group(one)) == standard_names(parse_group(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("D4", "Q8"), ("C8:C2(5)", "C8xC2"), ("He(3)", "C9:C3(4)"), ("C4:C4(3)", "(C4xC2):C2(a->ab)"),
     ("S5", "SL(2,5)"),
     ("S5", "A5xC2"), ("C4xC2", "C2^3"), ("He(3)", "C3^3"), ("D12", "C3:D4(a->a^-1;)"), ("Q8xC4", "D4xC4")],
)  # fmt: skip
def test_groups_that_are_not_isomorphic(one, other):
    assert isomorphism(parse_group(one), parse_group(other)) is None


def test_abelian_names_are_invariant_factors_first():
    assert _abelian_names(parse_group("C3xC3xC2")) == ("C6xC3", "C2xC3^2")
    assert _abelian_names(parse_group("C4xC6xC10")) == ("C60xC2^2", "C4xC2^2xC3xC5")
    assert _abelian_names(parse_group("C1")) == ("C1",)


def test_one_of_each_type_keeps_the_first_spelling():
    kept, same = one_of_each_type(["S3", "D3", " S3 ", "C6", "C3xC2", "Q8"])
    assert kept == ["S3", "C6", "Q8"]
    assert same == {"D3": "S3", "C3xC2": "C6"}
