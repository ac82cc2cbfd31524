"""Numbers in GAP's small groups library against invariants that were found without this package."""

import numpy as np
import pytest

from stl_algebra import InvalidInput
from stl_algebra.groups import NAME_TABLE, isomorphic, parse_group, small_group_number
from stl_algebra.groups.small_groups import known_numbers

#: Isomorphism types of groups of order 1 .. 31.
TYPES = (1, 1, 1, 2, 1, 2, 1, 5, 2, 2, 1, 5, 1, 2, 1, 14, 1, 5, 1, 5, 2, 2, 1, 15, 2, 2, 5, 4, 1, 4, 1)

ABELIAN = {
    (4, 1): "C4", (4, 2): "C2xC2", (6, 2): "C6", (8, 1): "C8", (8, 2): "C4xC2", (8, 5): "C2xC2xC2",
    (9, 1): "C9", (9, 2): "C3xC3", (10, 2): "C10", (12, 2): "C12", (12, 5): "C6xC2", (14, 2): "C14",
    (16, 1): "C16", (16, 2): "C4xC4", (16, 5): "C8xC2", (16, 10): "C4xC2xC2", (16, 14): "C2xC2xC2xC2",
    (18, 2): "C18", (18, 5): "C6xC3", (20, 2): "C20", (20, 5): "C10xC2", (21, 2): "C21", (22, 2): "C22",
    (24, 2): "C24", (24, 9): "C12xC2", (24, 15): "C6xC2xC2", (25, 1): "C25", (25, 2): "C5xC5",
    (26, 2): "C26", (27, 1): "C27", (27, 2): "C9xC3", (27, 5): "C3xC3xC3", (28, 2): "C28", (28, 4): "C14xC2",
    (30, 4): "C30", (32, 1): "C32", (32, 3): "C8xC4", (32, 16): "C16xC2", (32, 21): "C4xC4xC2",
    (32, 36): "C8xC2xC2", (32, 45): "C4xC2xC2xC2", (32, 51): "C2xC2xC2xC2xC2", (36, 2): "C36",
    (36, 5): "C18xC2", (36, 8): "C12xC3", (36, 14): "C6xC6", (40, 2): "C40", (40, 9): "C20xC2",
    (40, 14): "C10xC2xC2", (42, 6): "C42", (44, 2): "C44", (44, 4): "C22xC2", (45, 1): "C45",
    (45, 2): "C15xC3", (48, 2): "C48", (48, 20): "C12xC4", (48, 23): "C24xC2", (48, 44): "C12xC2xC2",
    (48, 52): "C6xC2xC2xC2", (49, 1): "C49", (49, 2): "C7xC7", (50, 2): "C50", (50, 5): "C10xC5",
    (52, 2): "C52", (52, 5): "C26xC2", (54, 2): "C54", (54, 9): "C18xC3", (54, 15): "C6xC3xC3",
    (56, 2): "C56", (56, 8): "C28xC2", (56, 13): "C14xC2xC2", (60, 4): "C60", (60, 13): "C30xC2",
}  # fmt: skip

#: (classes, order of the centre, abelianisation, {order: elements}); of groups that are not abelian.
INVARIANTS = {
    (6, 1): (3, 1, "C2", {2: 3, 3: 2}),
    (32, 49): (17, 2, "C2xC2xC2xC2", {2: 19, 4: 12}), (32, 50): (17, 2, "C2xC2xC2xC2", {2: 11, 4: 20}),
    (8, 3): (5, 2, "C2xC2", {2: 5, 4: 2}), (8, 4): (5, 2, "C2xC2", {2: 1, 4: 6}),
    (10, 1): (4, 1, "C2", {2: 5, 5: 4}),
    (12, 1): (6, 2, "C4", {2: 1, 3: 2, 4: 6, 6: 2}), (12, 3): (4, 1, "C3", {2: 3, 3: 8}),
    (12, 4): (6, 2, "C2xC2", {2: 7, 3: 2, 6: 2}),
    (14, 1): (5, 1, "C2", {2: 7, 7: 6}),
    (16, 3): (10, 4, "C4xC2", {2: 7, 4: 8}), (16, 4): (10, 4, "C4xC2", {2: 3, 4: 12}),
    (16, 6): (10, 4, "C4xC2", {2: 3, 4: 4, 8: 8}), (16, 7): (7, 2, "C2xC2", {2: 9, 4: 2, 8: 4}),
    (16, 8): (7, 2, "C2xC2", {2: 5, 4: 6, 8: 4}), (16, 9): (7, 2, "C2xC2", {2: 1, 4: 10, 8: 4}),
    (16, 11): (10, 4, "C2xC2xC2", {2: 11, 4: 4}), (16, 12): (10, 4, "C2xC2xC2", {2: 3, 4: 12}),
    (16, 13): (10, 4, "C2xC2xC2", {2: 7, 4: 8}),
    (18, 1): (6, 1, "C2", {2: 9, 3: 2, 9: 6}), (18, 3): (9, 3, "C6", {2: 3, 3: 8, 6: 6}),
    (18, 4): (6, 1, "C2", {2: 9, 3: 8}),
    (20, 1): (8, 2, "C4", {2: 1, 4: 10, 5: 4, 10: 4}), (20, 3): (5, 1, "C4", {2: 5, 4: 10, 5: 4}),
    (20, 4): (8, 2, "C2xC2", {2: 11, 5: 4, 10: 4}),
    (21, 1): (5, 1, "C3", {3: 14, 7: 6}),
    (22, 1): (7, 1, "C2", {2: 11, 11: 10}),
    (24, 1): (12, 4, "C8", {2: 1, 3: 2, 4: 2, 6: 2, 8: 12, 12: 4}),
    (24, 3): (7, 2, "C3", {2: 1, 3: 8, 4: 6, 6: 8}),
    (24, 4): (9, 2, "C2xC2", {2: 1, 3: 2, 4: 14, 6: 2, 12: 4}),
    (24, 5): (12, 4, "C4xC2", {2: 7, 3: 2, 4: 8, 6: 2, 12: 4}),
    (24, 6): (9, 2, "C2xC2", {2: 13, 3: 2, 4: 2, 6: 2, 12: 4}),
    (24, 7): (12, 4, "C4xC2", {2: 3, 3: 2, 4: 12, 6: 6}),
    (24, 8): (9, 2, "C2xC2", {2: 9, 3: 2, 4: 6, 6: 6}),
    (24, 10): (15, 6, "C6xC2", {2: 5, 3: 2, 4: 2, 6: 10, 12: 4}),
    (24, 11): (15, 6, "C6xC2", {2: 1, 3: 2, 4: 6, 6: 2, 12: 12}),
    (24, 12): (5, 1, "C2", {2: 9, 3: 8, 4: 6}), (24, 13): (8, 2, "C6", {2: 7, 3: 8, 6: 8}),
    (24, 14): (12, 4, "C2xC2xC2", {2: 15, 3: 2, 6: 6}),
    (26, 1): (8, 1, "C2", {2: 13, 13: 12}),
    (27, 3): (11, 3, "C3xC3", {3: 26}), (27, 4): (11, 3, "C3xC3", {3: 8, 9: 18}),
    (28, 1): (10, 2, "C4", {2: 1, 4: 14, 7: 6, 14: 6}), (28, 3): (10, 2, "C2xC2", {2: 15, 7: 6, 14: 6}),
    (30, 1): (15, 5, "C10", {2: 3, 3: 2, 5: 4, 10: 12, 15: 8}),
    (30, 2): (12, 3, "C6", {2: 5, 3: 2, 5: 4, 6: 10, 15: 8}),
    (30, 3): (9, 1, "C2", {2: 15, 3: 2, 5: 4, 15: 8}),
}  # fmt: skip

#: order, number and, as GAP counts them in its own group of that number, the pairs (a, b) with
#: ab = ba, a^2 = b^2, a^3 = b^3, a^4 = b^4 and (ab)^2 = 1.
COUNTED_BY_GAP = """
32 17 640 128 32 256 128; 32 18 352 352 32 448 576; 32 19 352 224 32 448 320; 32 20 352 352 32 448 64
32 22 640 384 32 1024 512; 32 23 640 384 32 1024 256; 32 25 640 320 32 1024 384; 32 26 640 320 32 1024 128
32 37 640 256 32 512 256; 32 39 448 448 32 640 640; 32 40 448 320 32 640 384; 32 41 448 448 32 640 128
32 46 640 640 32 1024 768; 32 47 640 640 32 1024 256; 32 48 640 512 32 1024 512; 34 1 340 340 34 340 612
36 1 432 360 72 432 72; 36 3 432 72 324 72 144; 36 4 432 432 72 432 720; 36 6 648 144 216 216 72
36 7 432 360 180 432 72; 36 9 216 144 108 792 360; 36 10 324 324 144 324 576; 36 11 432 72 756 72 144
36 12 648 216 216 216 288; 36 13 432 432 180 432 720; 38 1 418 418 38 418 760; 39 1 273 39 741 39 39
40 1 640 240 40 480 80; 40 3 400 160 40 560 80; 40 4 520 520 40 640 80; 40 5 640 320 40 640 480
40 6 520 520 40 640 880; 40 7 640 480 40 640 160; 40 8 520 360 40 640 560; 40 10 1000 200 40 320 240
40 11 1000 200 40 320 80; 40 12 400 240 40 1040 480; 40 13 640 640 40 640 960; 42 1 294 126 294 126 336
42 2 420 84 462 84 84; 42 3 882 126 84 126 168; 42 4 630 210 126 210 336; 42 5 504 504 84 504 924
44 1 616 528 44 616 88; 44 3 616 616 44 616 1056; 46 1 598 598 46 598 1104; 48 1 1152 192 96 384 96
48 4 1152 288 96 576 384; 48 7 720 720 96 864 1248; 48 8 720 720 96 864 96; 48 9 1152 384 96 768 192
48 11 1152 384 96 1152 192; 48 21 1440 288 144 768 384; 48 22 1440 288 144 768 192; 48 24 1440 192 144 384 192
48 25 1008 336 144 480 480; 48 26 1008 240 144 480 288; 48 27 1008 336 144 480 96; 48 29 384 288 192 576 672
48 31 768 192 336 384 384; 48 32 672 288 336 384 192; 48 34 864 864 96 1152 192; 48 35 1152 576 96 1152 768
48 36 864 864 96 1152 1344; 48 38 720 720 96 1152 1152; 48 40 720 720 96 1152 384; 48 42 1152 768 96 1152 384
48 43 864 672 96 1152 960; 48 45 1440 480 144 768 576; 48 46 1440 480 144 768 192; 48 47 1440 384 144 768 384
48 48 480 480 192 1056 960; 48 49 768 384 336 384 768; 48 51 1152 1152 96 1152 1536; 50 1 700 700 50 700 1300
50 3 1000 200 50 200 300; 50 4 700 700 50 700 1300; 52 1 832 728 52 832 104; 52 3 364 260 52 1612 728
52 4 832 832 52 832 1456; 54 1 810 810 108 810 1512; 54 3 972 324 324 324 540; 54 4 1458 162 324 162 216
54 10 1188 108 1458 108 108; 54 11 1188 108 486 108 108; 54 12 1458 162 972 162 216; 55 1 385 55 55 55 55
56 1 1120 448 56 896 112; 56 3 952 952 56 1120 112; 56 4 1120 560 56 1120 896; 56 5 952 952 56 1120 1680
56 6 1120 896 56 1120 224; 56 7 952 616 56 1120 1008; 56 9 1960 280 56 448 336; 56 10 1960 280 56 448 112
56 11 448 112 56 112 448; 56 12 1120 1120 56 1120 1792; 57 1 513 57 1539 57 57; 58 1 928 928 58 928 1740
60 1 1800 240 120 360 120; 60 2 1440 360 180 480 120; 60 3 1080 960 120 1080 120; 60 5 300 300 480 300 960
60 6 900 180 180 780 360; 60 7 540 300 120 1380 360; 60 8 720 720 120 720 1440; 60 9 1200 120 420 120 240
60 10 1440 480 180 480 720; 60 11 1800 360 120 360 480; 60 12 1080 1080 120 1080 1920
"""

PAIRS = {
    tuple(map(int, row.split()[:2])): tuple(map(int, row.split()[2:]))
    for row in COUNTED_BY_GAP.replace(";", "\n").strip().splitlines()
}

#: Conjugacy classes of larger groups.
CLASSES = {
    (72, 39): 9, (120, 5): 9, (120, 34): 7, (168, 42): 6, (216, 153): 10, (336, 208): 9, (360, 118): 7,
    (432, 734): 11, (504, 156): 9, (660, 13): 8,
}  # fmt: skip


def test_below_order_32_every_number_is_known_and_no_two_are_the_same_group():
    assert tuple(len(known_numbers(n)) for n in range(1, 32)) == TYPES
    for n in range(1, 32):
        found = [parse_group(f"SmallGroup({n},{i + 1})") for i in range(TYPES[n - 1])]
        assert not any(isomorphic(a, b) for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize(("order", "number"), ABELIAN)
def test_abelian_groups(order, number):
    assert isomorphic(f"SmallGroup({order},{number})", ABELIAN[order, number])


@pytest.mark.parametrize(("order", "number"), INVARIANTS)
def test_groups_that_are_not_abelian(order, number):
    classes, centre, abelianisation, orders = INVARIANTS[order, number]
    group = parse_group(f"SmallGroup({order},{number})")
    assert group.order == order
    assert len(group.classes) == classes
    assert sum(len(c) == 1 for c in group.classes) == centre
    counted = np.bincount(group.element_orders)
    assert {o: int(counted[o]) for o in range(2, len(counted)) if counted[o]} == orders
    # G/G': its elements are the cosets of the subgroup that commutators generate.
    derived = group.generated(np.unique(group.table[group.conjugates, group.inverse]).tolist())
    cosets = np.unique(group.table[:, derived].min(axis=1))
    quotient = np.searchsorted(cosets, group.table[:, derived].min(axis=1))[
        group.table[np.ix_(cosets, cosets)]
    ]
    assert isomorphic(type(group)(quotient), abelianisation)


def test_these_invariants_tell_all_groups_below_order_32_apart():
    for n in range(1, 32):
        told = [str(v) for k, v in (INVARIANTS | ABELIAN).items() if k[0] == n]
        assert len(set(told)) == len(told)
        assert len(told) == (TYPES[n - 1] if TYPES[n - 1] > 1 else 0)


@pytest.mark.parametrize(("order", "number"), PAIRS)
def test_pairs_of_elements_are_as_many_as_gap_counts(order, number):
    group = parse_group(f"SmallGroup({order},{number})")
    everyone = np.arange(order)
    square = group.table[everyone, everyone]
    cube, fourth = group.table[square, everyone], group.table[square, square]
    equal = [int((np.bincount(power) ** 2).sum()) for power in (square, cube, fourth)]
    commuting = int((group.table == group.table.T).sum())
    assert (commuting, *equal, int((square[group.table] == 0).sum())) == PAIRS[order, number]


@pytest.mark.slow
@pytest.mark.parametrize("n", range(1, 61))
def test_numbers_go_both_ways_and_each_is_checked_here(n):
    for number in known_numbers(n):
        group = parse_group(f"SmallGroup({n},{number})")
        assert small_group_number(group) == (n, number)
        checked = (n, number) in ABELIAN | INVARIANTS | PAIRS
        # Orders p q have the non-abelian group before the cyclic one; the only other group is a cyclic one.
        assert checked or group.name == f"C{n}"


@pytest.mark.slow
@pytest.mark.parametrize(("order", "number"), CLASSES)
def test_larger_groups(order, number):
    group = parse_group(f"SmallGroup({order},{number})")
    assert group.order == order
    assert len(group.classes) == CLASSES[order, number]
    assert small_group_number(group.name) == (order, number)


def test_orders_with_one_rule_for_all_primes():
    for n in (61, 77, 121, 143, 203, 125, 343, 94, 93):
        for number, name in known_numbers(n).items():
            assert small_group_number(name) == (n, number)
    assert small_group_number("He(5)") == (125, 3)
    assert small_group_number("D47") == (94, 1)
    assert known_numbers(64) == {}
    assert small_group_number("C64") is None


@pytest.mark.slow
def test_most_names_of_the_list_have_a_number():
    unknown = [name for name in NAME_TABLE if small_group_number(name) is None]
    assert unknown == []


@pytest.mark.parametrize(
    "text", ["SmallGroup(16,15)", "SmallGroup(16,0)", "SmallGroup(64,1)", "SmallGroup(0,0)"]
)
def test_numbers_that_are_not_known_are_refused(text):
    with pytest.raises(InvalidInput, match="known"):
        parse_group(text)
