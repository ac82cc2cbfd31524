"""Random spellings of groups from the whole grammar, and the properties that every group has."""

from math import gcd

import numpy as np
from hypothesis import strategies as st

from stl_algebra.families.algebra_products import block_product
from stl_algebra.groups import FiniteGroup, parse_group
from stl_algebra.groups.words import letters, words
from stl_algebra.representations import RealType, character_table, complex_irreps, fourier_basis, real_irreps


def families():
    """Atoms of the grammar."""
    ranges = {"C": (1, 12), "D": (1, 7), "Dic": (1, 4), "S": (1, 4), "A": (1, 5)}
    return st.one_of(
        *(st.integers(*bounds).map(lambda n, f=family: f"{f}{n}") for family, bounds in ranges.items()),
        st.sampled_from(["Q8", "Q16", "F6", "F10", "F20", "F21", "F42", "He(2)", "He(3)", "SL(2,2)"]),
        st.sampled_from(["SL(2,3)", "GL(2,2)", "GL(2,3)", "PSL(2,2)", "PSL(2,3)", "PSL(2,5)", "AGL(1,8)"]),
        st.sampled_from(
            ["SD16", "M16", "M27", "PSL(2,4)", "PGL(2,3)", "AGL(2,2)", "C2wrC3", "C3wrC2", "C2wrS3"]
        ),
        st.sampled_from(["table:{d}/q8.npy", "table:{d}/s3.csv", "table:{d}/c5.txt"]),
    )


@st.composite
def cyclic_semidirects(draw):
    """C_n:C_h(u) with u^h = 1."""
    n = draw(st.integers(2, 12))
    u = draw(st.sampled_from([u for u in range(1, n) if gcd(u, n) == 1] or [1]))
    order = next(e for e in range(1, n + 1) if pow(u, e, n) == 1 % n)
    return f"C{n}:C{order * draw(st.integers(1, 2))}({u})"


@st.composite
def semidirects(draw):
    """N:H, H cyclic or C_h x C_2; the first generator conjugates N by one of its elements, or inverts it."""
    normal = parse_group(draw(st.sampled_from(["C2^2", "C3^2", "C4xC2", "D4", "Q8", "S3", "A4", "C2^3"])))
    if normal.is_abelian:
        acting, images = 2, normal.inverse[list(normal.generators)]
    else:
        g = draw(st.integers(1, normal.order - 1))
        acting, images = int(normal.element_orders[g]), normal.conjugates[g, list(normal.generators)]
    spelled = words(normal)
    action = ",".join(f"{a}->{spelled[image]}" for a, image in zip(letters(normal), images, strict=True))
    left = f"({normal.name})" if "x" in normal.name else normal.name
    if draw(st.booleans()):
        return f"{left}:(C{acting}xC2)({action};)"
    return f"{left}:C{acting}({action})"


@st.composite
def permutations(draw):
    """perm: one or two permutations of at most five points."""
    generators = []
    for p in draw(st.lists(st.permutations(range(draw(st.integers(1, 5)))), min_size=1, max_size=2)):
        cycles, seen = [], set()
        for start in range(len(p)):
            cycle, x = [], start
            while x not in seen:
                seen.add(x)
                cycle.append(str(x + 1))
                x = p[x]
            if cycle:
                cycles.append("(" + draw(st.sampled_from([" ", ","])).join(cycle) + ")")
        generators.append("".join(cycles))
    return "perm:" + ",".join(generators)


def spellings(largest):
    """(text, order) from the whole grammar; "{d}" stands for a folder with tables."""
    orders = {"table:{d}/q8.npy": 8, "table:{d}/s3.csv": 6, "table:{d}/c5.txt": 5}

    def measured(text):
        return text, orders.get(text) or parse_group(text).order

    atoms = st.one_of(families(), families(), cyclic_semidirects(), semidirects(), permutations()).map(
        measured
    )

    @st.composite
    def compound(draw, parts):
        text, order = draw(parts)
        kind = draw(st.sampled_from(["power", "product", "parentheses"]))
        if kind == "power":
            exponent = draw(st.integers(1, 3))
            return (f"({text})^{exponent}", order**exponent) if order**exponent <= largest else (text, order)
        if kind == "parentheses":
            return f" ( {text} )", order
        other, second = draw(parts)
        return (f"({text})x({other})", order * second) if order * second <= largest else (text, order)

    return st.recursive(atoms, compound, max_leaves=3).filter(lambda pair: pair[1] <= largest)


def write_tables(folder):
    """The tables that `spellings` speaks of, with shuffled element numbers."""
    for name, file in (("Q8", "q8.npy"), ("S3", "s3.csv"), ("C5", "c5.txt")):
        table = parse_group(name).table
        new = np.random.default_rng(0).permutation(len(table))
        shuffled = np.empty_like(table)
        shuffled[np.ix_(new, new)] = new[table]
        if file.endswith("npy"):
            np.save(folder / file, shuffled)
        else:
            np.savetxt(folder / file, shuffled, fmt="%d", delimiter="," if file.endswith("csv") else " ")


def check_group(group):
    """Axioms, repr and parse, orders, classes."""
    again = FiniteGroup(group.table, group.name)
    assert np.array_equal(again.table, group.table)
    assert parse_group(group.name) == group
    assert eval(repr(group), {"parse_group": parse_group}) == group
    everyone = np.arange(group.order)
    assert not group.table[everyone, group.inverse].any()
    assert group.generated(group.generators).size == group.order
    assert sorted(x for c in group.classes for x in c) == list(everyone)
    for c in group.classes:
        assert np.array_equal(np.unique(group.conjugates[:, c[0]]), c)


def check_irreps(group, tolerance=1e-9):
    """Complete, irreducible, unitary homomorphisms; orthogonal characters; real types two ways."""
    irreps, reals = complex_irreps(group), real_irreps(group)
    assert sum(i.degree**2 for i in irreps) == group.order
    assert len(irreps) == len(group.classes)
    characters = np.array([i.character for i in irreps])
    # Rows: <chi, psi> = delta, so every one is irreducible and no two are equivalent.
    assert np.abs(characters @ characters.conj().T / group.order - np.eye(len(irreps))).max() < tolerance
    # Columns: sum over chi of chi(g) conj(chi(h)) is |centraliser| for conjugates and 0 otherwise.
    table = character_table(group)
    centralisers = np.diag([group.order / len(c) for c in group.classes])
    assert np.abs(table.conj().T @ table - centralisers).max() < tolerance * group.order
    for irrep in [*irreps, *reals]:
        m = irrep.matrices
        for g in group.generators:
            assert np.abs(m @ m[g] - m[group.table[:, g]]).max() < tolerance
        assert np.abs(m @ m.conj().transpose(0, 2, 1) - np.eye(m.shape[1])).max() < tolerance
    squares = group.table[np.arange(group.order), np.arange(group.order)]
    indicators = {RealType.REAL: 1, RealType.COMPLEX: 0, RealType.QUATERNIONIC: -1}
    for irrep in irreps:
        assert abs(irrep.character[squares].mean() - indicators[irrep.real_type]) < tolerance
    # The commutant of a real irrep is R, C or H: its dimension is <chi, chi>.
    dimensions = {RealType.REAL: 1, RealType.COMPLEX: 2, RealType.QUATERNIONIC: 4}
    for real in reals:
        character = np.trace(real.matrices, axis1=1, axis2=2)
        assert abs((character**2).mean() - dimensions[real.real_type]) < tolerance
    assert sum(r.block_dimension for r in reals) == group.order


def check_fourier(group, tolerance=1e-9):
    """The basis is orthogonal and turns convolution into products in the blocks."""
    basis = fourier_basis(group)
    assert np.abs(basis.matrix @ basis.matrix.T - np.eye(group.order)).max() < tolerance
    rng = np.random.default_rng(group.order)
    f, h = rng.normal(size=(2, group.order)) / np.sqrt(group.order)
    convolution = np.zeros(group.order)
    np.add.at(convolution, group.table, np.outer(f, h))
    for block in basis.blocks:
        rows = basis.matrix[block.start : block.stop]
        left, right, decode = block_product(block.size, block.real_type)
        product = np.sqrt(block.scale) * decode @ ((left @ (rows @ f)) * (right @ (rows @ h)))
        assert np.abs(product - rows @ convolution).max() < tolerance
