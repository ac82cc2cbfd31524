"""Spellings of GAP, sympy and books: each names the right group, or is refused with a hint that is true."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import InvalidInput, TooLarge
from stl_algebra.groups import GRAMMAR, isomorphic, parse_group, subgroup_classes
from stl_algebra.groups.foreign import STRUCTURES, convention
from stl_algebra.groups.hints import nearest_line

#: spelling: (the same group in the grammar, order, number of elements x with x^2 = 1)
RIGHT = {
    "Z6": ("C6", 6, 2), "Z_6": ("C6", 6, 2), "C_6": ("C6", 6, 2), "Z/6Z": ("C6", 6, 2), "Z/6": ("C6", 6, 2),
    "CyclicGroup(6)": ("C6", 6, 2), "Cyc(6)": ("C6", 6, 2), "Z6 x Z_2": ("C6xC2", 12, 4),
    "SymmetricGroup(4)": ("S4", 24, 10), "Sym(4)": ("S4", 24, 10), "S_4": ("S4", 24, 10),
    "AlternatingGroup(5)": ("A5", 60, 16), "Alt(4)": ("A4", 12, 4), "A_4": ("A4", 12, 4),
    "DihedralGroup(7)": ("D7", 14, 8), "Dih5": ("D5", 10, 6), "D_8": ("D8", 16, 10), "D8": ("D8", 16, 10),
    "QuaternionGroup(8)": ("Q8", 8, 2), "QuaternionGroup(16)": ("Q16", 16, 2), "Q_8": ("Q8", 8, 2),
    "V4": ("C2^2", 4, 4), "V_4": ("C2^2", 4, 4), "K4": ("C2^2", 4, 4), "V4 x C3": ("C6xC2", 12, 4),
    "SD16": ("C8:C2(3)", 16, 6), "QD16": ("C8:C2(3)", 16, 6), "QD_16": ("C8:C2(3)", 16, 6),
    "SD32": ("C16:C2(7)", 32, 10), "M16": ("C8:C2(5)", 16, 4), "M_16": ("C8:C2(5)", 16, 4),
    "M32": ("C16:C2(9)", 32, 4), "M27": ("C9:C3(4)", 27, 1), "M81": ("C27:C3(10)", 81, 1),
    "AbelianGroup([2,4])": ("C4xC2", 8, 4), "AbelianGroup(2, 4)": ("C4xC2", 8, 4),
    "AbelianGroup([6])": ("C6", 6, 2), "ElementaryAbelianGroup(8)": ("C2^3", 8, 8),
    "ElementaryAbelianGroup(9)": ("C3^2", 9, 1), "Group((1,2,3),(1,2))": ("S3", 6, 4),
    "Group([(1,2,3)(4,5),(1,2)])": ("D6", 12, 8), "C2 x C2": ("C2^2", 4, 4), "C2 X C2": ("C2^2", 4, 4),
    "C2×C2": ("C2^2", 4, 4), "S3 x C2": ("D6", 12, 8), "S3XC2": ("D6", 12, 8), "S3 × C2": ("D6", 12, 8),
    "C3 : C4": ("Dic3", 12, 2), "C3:C4": ("Dic3", 12, 2), "C5 : C4": ("F20", 20, 6),
    "C7 : C3": ("F21", 21, 1), "C7⋊C3": ("F21", 21, 1), "C7 : C6": ("F42", 42, 8), "C7 : C4": ("Dic7", 28, 2),
    "C4 : C4": ("C4:C4(3)", 16, 4), "C3 : C8": ("C3:C8(2)", 24, 2), "C9 : C3": ("M27", 27, 1),
    "C11 : C5": ("F55", 55, 1), "C2 x (C3 : C4)": ("Dic3xC2", 24, 4), "C4 x (C3 : C4)": ("Dic3xC4", 48, 4),
    "C3 : Q8": ("Dic6", 24, 2), "C5 : Q8": ("Dic10", 40, 2), "(C6 x C2) : C2": ("C3:D4(a->a^-1;)", 24, 10),
    "(C3 x C3) : C2": ("C3^2:C2(a->a^-1,b->b^-1)", 18, 10), "(C3 x C3) : C3": ("He(3)", 27, 1),
    "(C2 x C2) : C9": ("C2^2:C9(a->b,b->ab)", 36, 4), "(C2 x C2 x C2) : C7": ("AGL(1,8)", 56, 8),
    "(Dih5)xC2": ("D10", 20, 12), "(DihedralGroup(5))": ("D5", 10, 6), "C2^2:C3": ("A4", 12, 4),
    "Q8 : C3": ("SL(2,3)", 24, 2),
    "C2 x ((C6 x C2) : C2)": ("(C3:D4(a->a^-1;))xC2", 48, 20),
    "SmallGroup(8,3)": ("D4", 8, 6), "SmallGroup(24, 12)": ("S4", 24, 10),
    "SmallGroup([24, 3])": ("SL(2,3)", 24, 2), "smallgroup(16,13)": ("(C4xC2):C2(b->a^2b)", 16, 8),
    "SmallGroup(121,2)": ("C11^2", 121, 1), "SmallGroup(125,4)": ("M125", 125, 1),
    "SmallGroup(8,3) x C2": ("D4xC2", 16, 12), "SmallGroup(6,1)^2": ("S3^2", 36, 16),
    "C2 wr C3": ("A4xC2", 24, 8), "C2wrC3": ("A4xC2", 24, 8), "C2 ≀ C2": ("D4", 8, 6),
    "C2 wr S3": ("S4xC2", 48, 20), "C3 wr C2": ("S3xC3", 18, 4),
    "PSL(2,4)": ("A5", 60, 16), "PSL(2,5)": ("A5", 60, 16), "PSL(2,9)": ("A6", 360, 46),
    "SL(2,4)": ("A5", 60, 16), "GL(2,4)": ("A5xC3", 180, 16), "PGL(2,3)": ("S4", 24, 10),
    "PGL(2,5)": ("S5", 120, 26), "GL(3,2)": ("PSL(2,7)", 168, 22), "PSL(3,2)": ("PSL(2,7)", 168, 22),
    "AGL(2,2)": ("S4", 24, 10), "SL(2, 3)": ("SL(2,3)", 24, 2), "GL(1,7)": ("C6", 6, 2),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("spelled", RIGHT)
def test_a_spelling_names_the_right_group(spelled):
    other, order, roots = RIGHT[spelled]
    group = parse_group(spelled)
    assert group.order == order
    assert int((group.element_orders <= 2).sum()) == roots
    assert isomorphic(group, other)
    assert parse_group(group.name) == group


#: spelling: words of the message; names of groups in the hint are checked by the test.
REFUSED = {
    "DihedralGroup(8)": ("GAP and sympy differ", "D4 has order 8", "D8 has the symmetries", "order 16"),
    "dihedralgroup(12)": ("D6 has order 12", "D12 has the symmetries"),
    "Dih4": ("GAP and sympy differ", "D2 has order 4", "D4 has the symmetries"),
    "DicyclicGroup(12)": ("Dic3 is the one of order 12", "Dic12 of order 48"),
    "DiCyclicGroup(3)": ("Dic3 of order 12",),
    "QuaternionGroup(12)": ("8, 16, 32", "of order 12 is Dic3"),
    "Q20": ("of order 20 is Dic5",),
    "C8 : C2": ("C8:C2(3) = SD16", "C8:C2(5) = M16, which GAP prints so", "C8:C2(7) = D8"),
    "C16:C2": ("C16:C2(7) = SD32", "C16:C2(9) = M32", "C16:C2(15) = D16"),
    "C5 : C8": ("C5:C8(2), C5:C8(4)",),
    "C15:C2": ("C15:C2(4)", "C15:C2(11)", "C15:C2(14)"),
    "C12:C2": ("several",),
    "(C4 x C2) : C2": ("SmallGroup(16,3) or SmallGroup(16,13)",),
    "(C3 x C3) : C4": ("SmallGroup(36,7) or SmallGroup(36,9)",),
    "C2:C2": ("direct product is C2xC2",),
    "C7:C5": ("order divides 5", "direct product is C7xC5"),
    "C1:S3": ("more than 1 on the left",),
    "D4:C2": ("images of a, b of D4",),
    "SmallGroup(16,15)": ("order 16: 1, 2, 3", "got 15"),
    "SmallGroup(48,30)": ("known for order 48",),
    "SmallGroup(64,5)": ("all orders below 32", "perm:"),
    "SmallGroup(0,1)": ("all orders below 32",),
    "ElementaryAbelianGroup(6)": ("power of a prime",),
    "M8": ("2^n of at least 16",),
    "M11": ("Mathieu groups is above the limit",),
    "SD8": ("16, 32, 64",),
    "C2 wr D4": ("which say what they permute", "C2 wr perm:(1 2 3 4),(1 3)"),
    "ASL(1,5)": ("degree of at least 2",),
    "SL(2,6)": ("power of a prime",),
    "PGL(2,1)": ("power of a prime",),
    "AGL(2,6)": ("power of a prime",),
    "GL(3,10)": ("power of a prime",),
    "SL(2;3)": ("nearest in the grammar is SL(2,3)",),
    "PSU(3,2)": ("nearest in the grammar is PSL(2,7)",),
    "SmalGroup(8,3)": ("nearest in the grammar is SmallGroup(24,12)",),
    "C2 wr": ("nearest in the grammar is C2wrC3",),
}


@pytest.mark.parametrize("spelled", REFUSED)
def test_a_spelling_that_means_nothing_or_two_things_is_refused_with_a_hint(spelled):
    with pytest.raises(InvalidInput) as refused:
        parse_group(spelled)
    message = str(refused.value)
    assert "\n" not in message
    assert "did you mean" not in message
    for words in REFUSED[spelled]:
        assert words in message
    for one, _, other in re.findall(r"(C\d+:C\d+\(\d+\)) (=) (\w+\d+)", message):
        assert isomorphic(one, other)
    for name, order in re.findall(r"(\w+\d+) (?:has|is the one of) order (\d+)", message):
        assert parse_group(name).order == int(order)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("s3", "S3"), ("q8", "Q8"), ("psl(2,7)", "PSL(2,7)"), ("agl(1,8)", "AGL(1,8)"), ("s3xc2", "S3xC2"),
        ("z2^3", "C2^3"), ("S3*C2", "S3xC2"), ("Dic(3)", "Dic3"), ("D(4)", "D4"), ("PSL2(7)", "PSL(2,7)"),
        ("PSL_2(7)", "PSL(2,7)"), ("S₃", "S3"), ("ℤ5", "C5"), ("C_{4}", "C4"), ("$A_5$", "A5"),
        (r"C_2 \times C_2", "C2xC2"), ("sym(4)", "S4"), ("cyclicgroup(5)", "C5"), ("qd16", "SD16"),
    ],
)  # fmt: skip
def test_a_suggestion_is_the_same_group(typed, meant):
    with pytest.raises(InvalidInput) as refused:
        parse_group(typed)
    assert str(refused.value).endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize("typed", ["E5", "foo", "", "S5x", "A4B", "C7:C3)", "SL23", "Heis", "T5", "PSL"])
def test_a_near_miss_that_is_no_group_gets_no_group_suggested(typed):
    with pytest.raises(InvalidInput) as refused:
        parse_group(typed)
    assert "did you mean" not in str(refused.value)
    line = nearest_line(typed)
    assert str(refused.value).endswith(f"nearest in the grammar is {line}" if line else repr(typed))
    assert not line or line.split(": ", 1)[1] in GRAMMAR


@pytest.mark.parametrize("spelled", ["PSL(2,16)", "GL(4,2)", "AGL(2,4)", "SL(999999,2)", "C2wrC99", "C2wrS6"])
def test_groups_above_the_limit_say_so(spelled):
    with pytest.raises(TooLarge, match="above the limit"):
        parse_group(spelled)


@pytest.mark.parametrize("printed", STRUCTURES)
def test_what_gap_prints_is_a_semidirect_product_of_these_factors(printed):
    """Some normal subgroup is of the left type, and a complement of it of the right type, not normal."""
    normal, acting = (parse_group(x) for x in printed.rsplit(":", 1))
    for name in STRUCTURES[printed]:
        group = parse_group(name)
        assert group.order == normal.order * acting.order
        classes = subgroup_classes(group)
        kernels = [c for c in classes if c.is_normal and c.order == normal.order]
        complements = [c for c in classes if not c.is_normal and c.order == acting.order]
        assert any(
            len(set(k.members.tolist()) & set(c.members.tolist())) == 1
            and isomorphic(k.as_group(), normal)
            and isomorphic(c.as_group(), acting)
            for k in kernels
            for c in complements
        )


@given(st.integers(2, 60))
def test_the_note_on_dihedral_groups_is_true(n):
    note = convention(f"D{n}")
    for name, order in re.findall(r"(D\d+) has the symmetries of the \d+-gon and order (\d+)", note):
        assert parse_group(name).order == int(order)
    for order, name in re.findall(r"of order (\d+), is (D\d+) here", note):
        assert parse_group(name).order == int(order)
    assert (f"GAP's D{n}" in note) == (n % 2 == 0)
    assert convention(f"C{n}") == ""


@given(
    st.integers(1, 30),
    st.sampled_from(["C{}", "C_{}", "Z{}", "Z_{}", "Z/{}Z", "CyclicGroup({})", "AbelianGroup([{}])"]),
)
def test_all_spellings_of_a_cyclic_group_are_one_group(n, form):
    assert parse_group(form.format(n)) == parse_group(f"C{n}")
