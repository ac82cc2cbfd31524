"""Groups, names, irreps and Fourier bases: properties for every named group of order up to 60."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import InvalidInput, TooLarge
from stl_algebra.families.algebra_products import division_algebra_product
from stl_algebra.groups import NAME_TABLE, FiniteGroup, parse_group
from stl_algebra.representations import RealType, complex_irreps, fourier_basis
from stl_algebra.representations.irreps import irreps_from_commutant
from tests.algebra.groups.group_strategies import (
    check_fourier,
    check_group,
    check_irreps,
    spellings,
    write_tables,
)

TOLERANCE = 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", NAME_TABLE)
def test_every_named_group_has_the_properties_of_groups_irreps_and_fourier_bases(name):
    group = parse_group(name)
    assert group.order <= 60
    check_group(group)
    check_irreps(group)
    check_fourier(group)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    return folder


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(spelled=spellings(100))
def test_random_groups_from_the_grammar(tables, spelled):
    text, order = spelled
    group = parse_group(text.replace("{d}", str(tables)))
    assert group.order == order
    check_group(group)
    check_irreps(group)
    check_fourier(group)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(spelled=spellings(400))
def test_more_and_larger_random_groups_from_the_grammar(tables, spelled):
    text, order = spelled
    group = parse_group(text.replace("{d}", str(tables)))
    assert group.order == order
    check_group(group)
    check_irreps(group)
    check_fourier(group)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("Q8", ["R", "R", "R", "R", "H"]),
        ("C3", ["R", "C"]),
        ("S3", ["R", "R", "M_2(R)"]),
        ("A4", ["R", "C", "M_3(R)"]),
        ("SL(2,3)", ["R", "C", "H", "M_2(C)", "M_3(R)"]),
    ],
)
def test_real_group_algebras_of_known_groups(name, blocks):
    assert sorted(b.name for b in fourier_basis(parse_group(name)).blocks) == sorted(blocks)


@pytest.mark.parametrize("name", ["S4", "GL(2,3)", "F21", "SL(2,3)"])
def test_two_constructions_of_irreps_agree(name):
    group = parse_group(name)
    firsts = [c[0] for c in group.classes]
    first = np.array([i.character[firsts] for i in complex_irreps(group)])
    second = np.array([np.trace(m, axis1=1, axis2=2)[firsts] for m in irreps_from_commutant(group)])
    sizes = np.array([len(c) for c in group.classes])
    overlap = np.abs((first * sizes) @ second.conj().T) / group.order
    assert np.allclose(np.sort(overlap, axis=1)[:, -1], 1)
    assert np.allclose(overlap.sum(axis=1), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "S6",
        "He(7)",
        "SL(2,7)",
        "PSL(2,7)xC2",
        "C7:C3xS4",
        "PSL(2,11)",
        "D400",
        "C31:C30",
        "GL(2,5)",
        "perm:(1 2),(1 3)(2 4),(1 3 5 7)(2 4 6 8)",  # C2 wr S4
        "perm:(1 2 3),(1 2),(1 4)(2 5)(3 6),(7 8 9 10)",  # (S3 wr C2) x C4, its factors unnamed
        "C2^3:(C7:C3)(a->b,b->c,c->ab;b->c,c->bc)",
        "C2^9",
        "C997",
        "D25xD10",
    ],
)
def test_groups_of_order_up_to_a_thousand(name):
    group = parse_group(name)
    assert 100 < group.order <= 1300
    check_irreps(group)
    basis = fourier_basis(group)
    assert np.abs(basis.matrix @ basis.matrix.T - np.eye(group.order)).max() < TOLERANCE


def test_division_algebra_products_are_exact():
    quaternions = {
        (1, 2): (3, 1),
        (2, 3): (1, 1),
        (3, 1): (2, 1),
        (2, 1): (3, -1),
        (3, 2): (1, -1),
        (1, 3): (2, -1),
    }
    tensor = np.zeros((4, 4, 4))
    for u in range(4):
        tensor[0, u, u] = tensor[u, 0, u] = 1
        tensor[u, u, 0] = 1 if u == 0 else -1
    for (u, v), (w, sign) in quaternions.items():
        tensor[u, v, w] = sign
    left, right, decode = division_algebra_product(RealType.QUATERNIONIC)
    assert len(left) == 8
    assert np.array_equal(np.einsum("ra,rb,yr->aby", left, right, decode), tensor)


@pytest.mark.parametrize(
    ("name", "order"), [("perm:(1 2 3)(4 5),(1 2)", 12), ("perm:(1 2 3 4 5),(1 2)", 120), ("(S3xC2)^2", 144)]
)
def test_permutation_groups_and_products(name, order):
    group = parse_group(name)
    assert group.order == order
    assert parse_group(group.name) == group


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (" S3 x C2 ", "S3xC2"), ("((S3))", "S3"), ("(C2)^3", "C2^3"), ("S3×C2", "S3xC2"),
        ("(S3xC2)xC3", "(S3xC2)xC3"),
        ("(C7:C3)^2", "(C7:C3)^2"), ("perm:( 1,2 ,3 ) (4 5), (1 2)", "perm:(1 2 3)(4 5),(1 2)"),
        ("perm:(1 2)xC2", "(perm:(1 2))xC2"), ("C2^2 : C3 (a -> b, b -> ab)", "C2^2:C3(a->b,b->ab)"),
        ("(C3:D4(a->a^-1;))", "C3:D4(a->a^-1;)"), ("S3^1", "S3"), ("(C2^2)^2", "(C2^2)^2"),
    ],
)  # fmt: skip
def test_names_are_canonical(given, canonical):
    assert parse_group(given).name == canonical
    assert parse_group(canonical).name == canonical


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "expected a name") for name in (
            "", "E5", "C2^", "xC2", "C2x", "S3x(C2", "S3)", "C7:",
            ":C3", "S3xx2", "()", "C2^2^2", "C-3", "C3.5",
        )),
        ("C0", "at least 1"), ("C2^0", "at least 1"), ("Q12", "8, 16"), ("F7", "dividing"),
        ("SL(2,6)", "prime"), ("He(4)", "prime"), ("C99999999999", "six digits"),
        ("perm:", "cycles"), ("perm:(1 2", "cycles"), ("perm:1 2", "cycles"), ("perm:(1 a)", "cycles"),
        ("perm:(1 2 1)", "point 1 repeated in (1 2 1)"), ("perm:(1 2)(2 3)", "point 2 repeated"),
        ("perm:(0 1)", "point 0"), ("perm:(1 5000)", "point 5000"),
        ("C7:C5", "order divides 5"), ("C8:C2", "C8:C2(3) = SD16"), ("C7:C3(3)", "u^3 = 6"),
        ("C8:C2(2)", "homomorphism"), ("D4:C2", "action"),
        ("C7:C3^2", "action"), ("C2^2:C3(a->b,b->a)", "a^-1 * a = 1 in C3"),
        ("C2^2:C2(a->b,b->b)", "takes ab to 1"),
        ("C4:C2(a->a^2)", "takes a^2 to 1"), ("S3:C2(a->b)", "a^-1b * a = ab, but their images"),
        ("C2^2:C3(a->b,b->ab)(b->a)", "expected a name"),
        ("C2^2:C3(a->q)", "got q"), ("C2^2:C3(c->a)", "got c"), ("C2^2:C3(a=b)", "'a=b'"),
        ("C2^2:C3(a->b,a->a)", "once"),
        ("C2^2:C2(a->a;b->b)", "each of the 1 generators"), ("C2^2:C3(a->a^)", "product of powers"),
        ("table:missing.npy", "existing"),
    ],
)  # fmt: skip
def test_malformed_names_are_refused_in_one_line_of_words(name, words):
    with pytest.raises(InvalidInput, match="expected") as refused:
        parse_group(name)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text("CDSAQFxe:^()->,; 123abpermtlbLGH./wZVMK_XP", max_size=14))
def test_whatever_is_typed_is_a_group_or_a_message(text):
    try:
        group = parse_group(text)
    except (InvalidInput, TooLarge) as refused:
        message = str(refused)
    else:
        message = ""
        assert parse_group(group.name) == group
    assert "\n" not in message


@pytest.mark.parametrize("q", [3, 4, 5, 7, 8, 9, 11, 13, 16])
def test_affine_groups_are_frobenius_groups_on_the_points_of_their_field(q):
    """The stabiliser of 0 meets its conjugates in 1; 1 and what lies in none of them form the kernel F_q."""
    group = parse_group(f"AGL(1,{q})")
    assert group.order == q * (q - 1)
    scaling, translation = group.generators
    stabiliser = group.generated([scaling])
    assert len(stabiliser) == q - 1
    conjugates = {tuple(sorted(row)) for row in group.conjugates[:, stabiliser].tolist()}
    assert len(conjugates) == q
    fixing = np.bincount(np.concatenate([np.array(c) for c in conjugates]), minlength=group.order)
    assert set(fixing[1:].tolist()) == {0, 1}
    kernel = np.append(0, np.flatnonzero(fixing == 0))
    assert np.array_equal(group.generated(kernel.tolist()), kernel)
    assert group.subgroup(kernel).is_abelian
    assert set(group.element_orders[kernel[1:]].tolist()) == {int(group.element_orders[translation])}
    # All elements but 0 of the kernel are conjugate: multiplication with the field moves any to any.
    assert sorted(kernel[1:].tolist()) in [sorted(c) for c in group.classes]


@pytest.mark.parametrize("name", ["AGL(1,6)", "AGL(1,1)", "AGL(1,0)", "AGL(2,6)", "AGL(1,12)"])
def test_affine_groups_need_a_field(name):
    with pytest.raises(InvalidInput, match="expected"):
        parse_group(name)


@pytest.mark.parametrize("name", ["S9", "C5000", "C2^40", "S999999", "GL(2,11)", "AGL(1,64)", "C2^999999"])
def test_groups_that_are_too_large_say_so(name):
    with pytest.raises(TooLarge, match="GB"):
        parse_group(name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0, 1], [1, 1]], "none for element 1: inverse axiom fails"),
        ([[1, 0], [1, 0]], "g0 g0 = g1: identity axiom fails"),
        ([[0, 1, 2], [1, 0, 1], [2, 2, 0]], "associativity fails"),
        ([[0, 3], [1, 0]], "table[0, 1] = 3"),
        ([[0, -1], [1, 0]], "table[0, 1] = -1"),
        ([[0, 1]], "shape (1, 2)"),
        ([[0, 1], [1]], "unequal length"),
        ([], "shape"),
        ([[0.5, 1], [1, 0]], "table[0, 0] = 0.5"),
        ([[float("nan"), 1], [1, 0]], "table[0, 0] = nan"),
        ([["a", "b"], ["b", "a"]], "integer entries"),
    ],
)
def test_tables_that_are_no_group_name_the_axiom_and_the_elements(table, message):
    with pytest.raises(InvalidInput) as refused:
        FiniteGroup(table)
    assert message in str(refused.value)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["C4", "C5", "S3", "Q8", "C2^3"]), st.data())
def test_a_changed_entry_is_found_and_the_message_is_true(name, data):
    table = np.array(parse_group(name).table)
    size = len(table)
    new = np.array(data.draw(st.permutations(range(size))))
    shuffled = np.empty_like(table)
    shuffled[np.ix_(new, new)] = new[table]
    i, j = data.draw(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)))
    shuffled[i, j] = (shuffled[i, j] + data.draw(st.integers(1, size - 1))) % size
    with pytest.raises(InvalidInput) as refused:
        FiniteGroup(shuffled)
    message = str(refused.value)
    if "associativity" in message:
        a, b, c, first, _, _, _, second = map(int, re.findall(r"g(\d+)", message))
        assert shuffled[shuffled[a, b], c] == first != second == shuffled[a, shuffled[b, c]]
    elif "identity" in message:
        a, b, product = map(int, re.findall(r"g(\d+)", message))
        assert shuffled[a, b] == product
    else:
        g = int(re.search(r"element (\d+)", message)[1])
        e = new[0]
        assert e not in shuffled[g] or e not in shuffled[:, g]


@pytest.mark.parametrize("content", [b"0,1\n1", b"a b\nb a", b"\xff\xfe\x00", b"", b"0 1\n1 5"])
def test_table_files_that_hold_no_table(tmp_path, content):
    for suffix in (".csv", ".txt", ".npy"):
        path = tmp_path / f"t{suffix}"
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match="expected") as refused:
            parse_group(f"table:{path}")
        assert "\n" not in str(refused.value)


def test_a_table_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "t.csv"
    for name in ("C2", "C3"):
        np.savetxt(path, parse_group(name).table, fmt="%d", delimiter=",")
        assert parse_group(f"table:{path}").order == parse_group(name).order


def test_table_with_another_identity_is_relabelled(tmp_path):
    shuffled = np.array([2, 0, 1])
    table = np.argsort(shuffled)[(shuffled[:, None] + shuffled) % 3]
    np.save(tmp_path / "c3.npy", table)
    group = parse_group(f"table:{tmp_path / 'c3.npy'}")
    assert np.array_equal(group.table[0], [0, 1, 2])
    assert group.is_abelian
    (tmp_path / "c3.csv").write_text("0,1,2\n1,2,0\n2,0,1\n")
    assert parse_group(f"table:{tmp_path / 'c3.csv'}").order == 3
