"""Finite fields, linear and affine groups over them, wreath products: known orders, classes and structure."""

from math import factorial, gcd

import numpy as np
import pytest

from stl_algebra import InvalidInput
from stl_algebra.groups import isomorphic, parse_group
from stl_algebra.groups.fields import finite_field
from stl_algebra.groups.matrix_groups import order_of_gl
from tests.algebra.groups.group_strategies import check_group, check_irreps


@pytest.mark.parametrize("q", [2, 3, 4, 5, 7, 8, 9, 16, 25, 27, 32, 49])
def test_fields_satisfy_the_axioms(q):
    field = finite_field(q)
    everyone = np.arange(q)
    assert np.array_equal(field.sums[0], everyone)
    assert np.array_equal(field.products[1], everyone)
    assert not field.products[0].any()
    for table in (field.sums, field.products):
        assert np.array_equal(table, table.T)
        assert np.array_equal(table[table[:, :, None], everyone], table[everyone[:, None, None], table])
    assert np.array_equal(np.sort(field.sums, axis=1), np.tile(everyone, (q, 1)))
    assert np.array_equal(np.sort(field.products[1:], axis=1), np.tile(everyone, (q - 1, 1)))
    left = field.products[everyone[:, None, None], field.sums]
    assert np.array_equal(left, field.sums[field.products[:, :, None], field.products[:, None, :]])
    assert sorted(field.powers.tolist()) == list(range(1, q))
    assert field.characteristic**field.degree == q


@pytest.mark.parametrize("q", [1, 6, 12, 100])
def test_there_is_no_field_of_another_order(q):
    with pytest.raises(InvalidInput, match="power of a prime"):
        finite_field(q)


@pytest.mark.slow
@pytest.mark.parametrize("q", [2, 3, 4, 5, 7, 8, 9, 11])
def test_linear_groups_of_degree_2_have_the_classes_of_the_literature(q):
    odd = q % 2
    expected = {
        "GL": q * q - 1,
        "SL": q + 4 if odd else q + 1,
        "PGL": q + 2 if odd else q + 1,
        "PSL": (q + 5) // 2 if odd else q + 1,
    }
    centre = {"GL": q - 1, "SL": gcd(2, q - 1), "PGL": 1, "PSL": 1}
    order = (q * q - 1) * (q * q - q)
    orders = {
        "GL": order,
        "SL": order // (q - 1),
        "PGL": order // (q - 1),
        "PSL": order // (q - 1) // gcd(2, q - 1),
    }
    for kind, total in orders.items():
        if total <= 2000:
            group = parse_group(f"{kind}(2,{q})")
            assert group.order == total
            assert len(group.classes) == expected[kind]
            assert sum(len(c) == 1 for c in group.classes) == centre[kind]
            assert group.generated(group.generators).size == total


@pytest.mark.parametrize("name", ["PSL(2,4)", "PSL(2,8)", "PSL(2,9)", "PSL(3,2)", "PSL(2,11)"])
def test_projective_special_linear_groups_are_simple(name):
    """Every class but that of 1 generates the whole group."""
    group = parse_group(name)
    assert all(group.generated(list(c)).size == group.order for c in group.classes[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [("PSL(2,4)", "PSL(2,5)"), ("PSL(2,9)", "A6"), ("PSL(3,2)", "PSL(2,7)"), ("SL(2,8)", "PGL(2,8)"),
     ("GL(2,4)", "SL(2,4)xC3"), ("PGL(2,3)", "S4"), ("PGL(2,5)", "S5"), ("ASL(2,2)", "S4"),
     ("GL(1,16)", "C15"), ("AGL(2,2)", "C2^2:S3(a->b,b->ab;a->b,b->a)"), ("SL(1,7)", "C1"),
     ("AGL(3,2)", "perm:(1 2)(3 4)(5 6)(7 8),(2 3 5)(4 7 6),(2 4)(6 8)"),
     ("C2wrS4", "perm:(1 2),(1 3)(2 4),(1 3 5 7)(2 4 6 8)"), ("S3wrC2", "perm:(1 2 3),(1 2),(1 4)(2 5)(3 6)"),
     ("C3wrC3", "perm:(1 2 3),(1 4 7)(2 5 8)(3 6 9)"), ("C2wrC2", "D4"), ("C2wrC3", "A4xC2"),
     ("C4wrC2", "perm:(1 2 3 4),(1 5)(2 6)(3 7)(4 8)"), ("C2wr(perm:(1 2 3),(1 2))", "C2wrS3"),
     ("C2wrA3", "C2wrC3"), ("C2wr(perm:(1 2))", "D4"), ("(C2wrC2)wrC2", "D4wrS2"), ("C1wrS3", "S3")],
)  # fmt: skip
def test_isomorphic_constructions(one, other):
    assert isomorphic(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["AGL(2,2)", "AGL(2,3)", "ASL(2,3)", "ASL(2,4)", "AGL(3,2)", "ASL(3,2)", "AGL(1,9)"]
)
def test_affine_groups_have_their_translations_as_a_minimal_normal_subgroup(name):
    group = parse_group(name)
    kind, d, q = name[:3], int(name[4]), int(name[6])
    assert group.order == q**d * order_of_gl(d, q) // (1 if kind == "AGL" else q - 1)
    translation = group.generators[-1]
    moved = np.unique(group.conjugates[:, translation])
    assert len(moved) == q**d - 1
    kernel = group.generated(moved.tolist())
    assert len(kernel) == q**d
    assert group.subgroup(kernel).is_abelian
    # Nothing else commutes with all of it.
    commuting = (group.conjugates[:, kernel] == kernel).all(axis=1)
    assert np.array_equal(np.flatnonzero(commuting), kernel)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "order", "classes"),
    [("AGL(2,3)", 432, 11), ("ASL(2,3)", 216, 10), ("AGL(3,2)", 1344, 11), ("C2wrS3", 48, 10),
     ("C2wrS4", 384, 20), ("S3wrC2", 72, 9), ("C3wrS3", 162, 22), ("A4wrC2", 288, 14), ("C2^2wrC2", 32, 14)],
)  # fmt: skip
def test_orders_and_classes_from_the_literature(name, order, classes):
    group = parse_group(name)
    assert (group.order, len(group.classes)) == (order, classes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["PSL(2,4)", "GL(2,4)", "PGL(2,5)", "ASL(2,3)", "SD16", "M27", "S3wrC2", "C2wrA4"]
)
def test_new_groups_have_the_properties_of_groups_and_irreps(name):
    group = parse_group(name)
    check_group(group)
    check_irreps(group)


@pytest.mark.parametrize(("base", "n"), [("C2", 3), ("S3", 2), ("C2^2", 2), ("C3", 3), ("Q8", 2)])
def test_wreath_products_permute_their_copies(base, n):
    group, inner = parse_group(f"({base})wrS{n}"), parse_group(base)
    assert group.order == inner.order**n * factorial(n)
    assert group.generated(group.generators).size == group.order
    # Multisets of classes, arranged by cycle types: k (k + 3) / 2 and k (k + 1) (k + 8) / 6 for n = 2 and 3.
    k = len(inner.classes)
    assert len(group.classes) == (k * (k + 3) // 2 if n == 2 else k * (k + 1) * (k + 8) // 6)
