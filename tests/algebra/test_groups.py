"""Groups, names, irreps and Fourier bases: properties for every named group of order up to 60."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import InvalidInput, TooLarge
from stl_algebra.families.algebra_products import block_product, block_rank, division_algebra_product
from stl_algebra.groups import NAME_TABLE, FiniteGroup, parse_group
from stl_algebra.representations import RealType, character_table, complex_irreps, fourier_basis, real_irreps
from stl_algebra.representations.irreps import irreps_from_commutant

TOLERANCE = 1e-10


@pytest.mark.parametrize("name", NAME_TABLE)
def test_group_axioms_and_name_round_trip(name):
    group = parse_group(name)
    again = FiniteGroup(group.table, group.name)  # checks the axioms
    assert np.array_equal(again.table, group.table)
    assert group.order <= 60
    assert parse_group(group.name) == group
    assert group.generated(group.generators).size == group.order
    everyone = np.arange(group.order)
    assert not group.table[everyone, group.inverse].any()
    assert sum(len(c) for c in group.classes) == group.order


@pytest.mark.parametrize("name", NAME_TABLE)
def test_irreps_are_orthogonal_complete_homomorphisms(name):
    group = parse_group(name)
    irreps = complex_irreps(group)
    assert sum(i.degree**2 for i in irreps) == group.order
    assert len(irreps) == len(group.classes)
    characters = np.array([i.character for i in irreps])
    assert np.allclose(characters @ characters.conj().T, group.order * np.eye(len(irreps)), atol=TOLERANCE)
    for irrep in [*irreps, *real_irreps(group)]:
        m = irrep.matrices
        products = np.einsum("gij,hjk->ghik", m, m)
        assert np.abs(products - m[group.table]).max() < TOLERANCE
        assert np.abs(m @ m.conj().transpose(0, 2, 1) - np.eye(m.shape[1])).max() < TOLERANCE
    table = character_table(group)
    sizes = np.array([len(c) for c in group.classes])
    assert np.allclose((table * sizes) @ table.conj().T, group.order * np.eye(len(irreps)), atol=TOLERANCE)


@pytest.mark.parametrize("name", NAME_TABLE)
def test_fourier_basis_is_orthogonal_and_turns_convolution_into_block_products(name):
    group = parse_group(name)
    basis = fourier_basis(group)
    assert np.abs(basis.matrix @ basis.matrix.T - np.eye(group.order)).max() < TOLERANCE
    rng = np.random.default_rng(group.order)
    f, h = rng.normal(size=(2, group.order))
    convolution = np.zeros(group.order)
    np.add.at(convolution, group.table, np.outer(f, h))
    for block in basis.blocks:
        rows = basis.matrix[block.start : block.stop]
        left, right, decode = block_product(block.size, block.real_type)
        product = np.sqrt(block.scale) * decode @ ((left @ (rows @ f)) * (right @ (rows @ h)))
        assert np.abs(product - rows @ convolution).max() < 1e-9
        assert len(left) == block_rank(block.size, block.real_type)


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
@pytest.mark.parametrize("name", ["PSL(2,7)", "S6", "GL(2,5)", "He(5)"])
def test_larger_groups_go_through_the_commutant(name):
    group = parse_group(name)
    rng = np.random.default_rng(0)
    a, b = rng.integers(group.order, size=(2, 300))
    for irrep in complex_irreps(group):
        assert np.abs(irrep.matrices[a] @ irrep.matrices[b] - irrep.matrices[group.table[a, b]]).max() < 1e-9
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


atoms = st.sampled_from(
    ["C2", "C3", "C5", "C6", "D4", "Q8", "S3", "A4", "Dic3", "C7:C3", "He(2)", "C8:C2(3)", "F20"]
)
expressions = st.lists(st.tuples(atoms, st.integers(1, 2)), min_size=1, max_size=2)


@settings(max_examples=25, deadline=None)
@given(expressions)
def test_grammar_expressions_round_trip_and_have_the_right_order(parts):
    name = "x".join(a if e == 1 else f"{a}^{e}" for a, e in parts)
    order = int(np.prod([parse_group(a).order ** e for a, e in parts]))
    if order > 600:
        return
    group = parse_group(name)
    assert group.order == order
    assert parse_group(group.name) == group
    assert sum(i.degree**2 for i in complex_irreps(group)) == order


@pytest.mark.parametrize(
    ("name", "order"), [("perm:(1 2 3)(4 5),(1 2)", 12), ("perm:(1 2 3 4 5),(1 2)", 120), ("(S3xC2)^2", 144)]
)
def test_permutation_groups_and_products(name, order):
    group = parse_group(name)
    assert group.order == order
    assert parse_group(group.name) == group


@pytest.mark.parametrize(
    "name",
    ["", "Z5", "C0", "C2^", "C2^0", "xC2", "C2x", "S3x(C2", "Q12", "D4:C2", "F7", "SL(3,2)", "SL(2,4)",
     "perm:", "perm:(1 2", "perm:(1 2 1)", "perm:(0 1)", "C7:C5", "C7:C3(3)", "table:missing.npy",
     "C99999999999"],
)  # fmt: skip
def test_malformed_names_are_refused_in_words(name):
    with pytest.raises(InvalidInput, match="expected"):
        parse_group(name)


@pytest.mark.parametrize("name", ["S9", "C5000", "C2^40", "S999999", "GL(2,11)", "C2^999999"])
def test_groups_that_are_too_large_say_so(name):
    with pytest.raises(TooLarge, match="GB"):
        parse_group(name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0, 1], [1, 1]], "inverse"),
        ([[1, 0], [1, 0]], "identity"),
        ([[0, 1, 2], [1, 0, 1], [2, 2, 0]], "associativity"),
        ([[0, 3], [1, 0]], "closure"),
        ([[0, 1]], "square"),
        ([[0.5, 1], [1, 0]], "integer"),
    ],
)
def test_tables_that_are_no_group_name_the_axiom(table, message):
    with pytest.raises(InvalidInput, match=message):
        FiniteGroup(table)


def test_table_with_another_identity_is_relabelled(tmp_path):
    shuffled = np.array([2, 0, 1])
    table = np.argsort(shuffled)[(shuffled[:, None] + shuffled) % 3]
    np.save(tmp_path / "c3.npy", table)
    group = parse_group(f"table:{tmp_path / 'c3.npy'}")
    assert np.array_equal(group.table[0], [0, 1, 2])
    assert group.is_abelian
    (tmp_path / "c3.csv").write_text("0,1,2\n1,2,0\n2,0,1\n")
    assert parse_group(f"table:{tmp_path / 'c3.csv'}").order == 3
