"""The triple product property: search against brute force, bounds, and the examples of the literature."""

from itertools import combinations, permutations, product

import numpy as np
import pytest

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat, TooLarge
from stl_algebra.algorithms.fit import refit_decoder, truncate
from stl_algebra.algorithms.scores import nmse
from stl_algebra.families import Request, family
from stl_algebra.families.fourier import fourier_algorithm
from stl_algebra.groups import FiniteGroup, parse_group, standard_names
from stl_algebra.triples.census import census
from stl_algebra.triples.property import Triple, find_triple
from stl_algebra.triples.realises import bound, fewest_collisions, realises, subgroup_triple, subset_triple

ABELIAN = ["C4", "C2^2", "C5", "C6", "C7", "C8", "C4xC2", "C2^3", "C9", "C3^2", "C10", "C11", "C12", "C6xC2"]


def brute_force(group, sizes):
    """All triples of subsets with 1, from the definition with quotients."""
    quotient = group.table[:, group.inverse]

    def subsets(size):
        return [np.array((0, *rest)) for rest in combinations(range(1, group.order), size - 1)]

    for s, t, u in product(*(subsets(size) for size in sizes)):
        qs, qt, qu = (np.unique(quotient[np.ix_(x, x)]) for x in (s, t, u))
        products = group.table[group.table[np.ix_(qs, qt)][:, :, None], qu]
        if np.count_nonzero(products == 0) == 1:
            return True
    return False


@pytest.mark.parametrize("name", ["C5", "S3", "C7", "D4", "Q8", "C2^3", "C8"])
@pytest.mark.parametrize("tile", ["2", "3x2x2"])
def test_the_enumeration_agrees_with_brute_force(name, tile):
    group, shape = parse_group(name), TileFormat.parse(tile)
    expected = brute_force(group, (shape.n, shape.k, shape.m))
    found = subset_triple(group, shape)
    assert (found is not None) == expected
    if expected:
        assert found.collisions() == 0
        assert (len(found.s), len(found.t), len(found.u)) == (shape.n, shape.k, shape.m)
    else:
        assert subgroup_triple(group, shape) is None
    answer = realises(group, shape)
    assert (answer.realised, answer.proven) == (expected, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tile"), [("C5", "2"), ("S3", "3x2x2"), ("C6", "2"), ("C2^2", "2"), ("C7", "2")]
)
def test_fewest_collisions_against_brute_force(name, tile):
    group, shape = parse_group(name), TileFormat.parse(tile)

    def subsets(size):
        return [np.array((0, *rest)) for rest in combinations(range(1, group.order), size - 1)]

    sides = (shape.n, shape.k, shape.m)
    expected = min(
        Triple(group, *parts).collisions() for parts in product(*(subsets(side) for side in sides))
    )
    found = fewest_collisions(group, shape)
    assert found.collisions() == expected
    assert (len(found.s), len(found.t), len(found.u)) == sides
    assert find_triple(group, shape, 1).collisions() >= expected
    with pytest.raises(TooLarge, match="nodes"):
        fewest_collisions(parse_group("C11"), TileFormat(3, 3, 3), nodes=5)


@pytest.mark.parametrize("name", ABELIAN)
def test_no_abelian_group_beats_the_definition(name):
    """Cohn and Umans 2003, here by enumeration alone, without the bound that says it."""
    group = parse_group(name)
    for tile in (TileFormat(2, 2, 2), TileFormat(2, 3, 2), TileFormat(3, 3, 2), TileFormat(3, 3, 3)):
        triple = subset_triple(group, tile, nodes=50_000)
        if triple is not None:
            assert tile.products <= group.order
            assert bound(group, tile) is None
            products = group.table[group.table[np.ix_(triple.s, triple.t)][:, :, None], triple.u]
            assert len(np.unique(products)) == tile.products


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tile"),
    [("S3", "2"), ("C2xC3xC4", "2x3x4"), ("SL(2,3)", "3"), ("F21", "3"), ("A5", "4"), ("S4", "3x4x2")],
)
def test_subgroups_realise_formats_and_the_algorithm_is_exact(name, tile):
    group, shape = parse_group(name), TileFormat.parse(tile)
    answer = realises(group, shape)
    assert (answer.realised, answer.proven, answer.method) == (True, True, "subgroups")
    for part in (answer.triple.s, answer.triple.t, answer.triple.u):
        assert len(group.generated(part.tolist())) == len(part)
    assert nmse(fourier_algorithm(answer.triple)) < 1e-24


@pytest.mark.slow
@pytest.mark.parametrize("name", ["D12", "C3xC8"])
def test_groups_of_order_24_without_a_triple_for_three_are_proven_so(name):
    answer = realises(parse_group(name), TileFormat(3, 3, 3), use_bounds=False, nodes=500_000)
    assert (answer.realised, answer.proven, answer.method) == (False, True, "subsets")
    assert answer.triple.collisions() > 0


@pytest.mark.parametrize("size", [2, 3])
def test_symmetric_groups_with_young_subgroups(size):
    """Cohn and Umans 2003: permutations of a triangular array that keep one of its three coordinates."""
    points = [p for p in product(range(size), repeat=3) if sum(p) == size - 1]
    order = list(permutations(range(len(points))))
    group = parse_group(f"S{len(points)}")
    first, second = np.random.default_rng(0).integers(len(order), size=(2, 20))
    for i, j in zip(first, second, strict=True):
        composed = tuple(order[i][x] for x in order[j])
        assert order[group.table[i, j]] == composed
    subgroups = [
        np.array(
            [
                g
                for g, p in enumerate(order)
                if all(points[p[x]][c] == points[x][c] for x in range(len(points)))
            ]
        )
        for c in range(3)
    ]
    triple = Triple(group, *subgroups)
    assert triple.collisions() == 0
    assert {len(s) for s in subgroups} == {2 if size == 2 else 12}


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_wreath_products(n):
    """Cohn, Kleinberg, Szegedy, Umans 2005, section 2: <2n(n-1), ...> in (C_n^3)^2 : C_2 of order 2 n^6."""
    digits = np.array(list(product(range(n), repeat=6)))
    weights = n ** np.arange(5, -1, -1)
    # (a, b) z^i times (c, d) z^j = (a + c, b + d) z^j or, for i = 1, (a + d, b + c) z^(1 + j).
    swapped = digits[:, [3, 4, 5, 0, 1, 2]]
    half = len(digits)
    table = np.empty((2 * half, 2 * half), dtype=np.int64)
    for i, right in enumerate((digits, swapped)):
        sums = ((digits[:, None] + right[None, :]) % n) @ weights
        for j in range(2):
            table[i * half : (i + 1) * half, j * half : (j + 1) * half] = sums + half * ((i + j) % 2)
    group = FiniteGroup(table)
    subsets = []
    for side in range(3):
        a, b = digits[:, :3], digits[:, 3:]
        others = [c for c in range(3) if c != side]
        after = (side + 1) % 3
        inside = (
            (a[:, side] > 0)
            & (a[:, others] == 0).all(axis=1)
            & (np.delete(b, after, axis=1) == 0).all(axis=1)
        )
        elements = np.flatnonzero(inside)
        subsets.append(np.concatenate([elements, elements + half]))
    assert {len(s) for s in subsets} == {2 * n * (n - 1)}
    assert Triple(group, *subsets).collisions() == 0


@pytest.mark.slow
def test_limits_are_said_and_not_passed_over():
    group = parse_group("C2^5")
    with pytest.raises(TooLarge, match="nodes"):
        subset_triple(group, TileFormat(3, 3, 3), nodes=100)
    answer = realises(group, TileFormat(3, 3, 3), nodes=100)
    assert (answer.realised, answer.proven, answer.method) == (False, False, "annealing")
    small = realises(parse_group("C2"), TileFormat(3, 1, 1))
    assert (small.realised, small.proven, small.method) == (False, True, "bound")


def test_each_step_of_both_truncations_is_the_best_of_all_steps():
    rng = np.random.default_rng(4)
    tile = TileFormat(2, 3, 2)
    start = BilinearAlgorithm(tile, rng.normal(size=(9, 6)), rng.normal(size=(9, 6)), rng.normal(size=(4, 9)))

    def error(keep):
        keep = sorted(keep)
        return nmse(
            refit_decoder(
                BilinearAlgorithm(tile, start.encode_x[keep], start.encode_w[keep], start.decode[:, keep])
            )
        )

    backward, greedy = set(range(9)), set()
    for _ in range(4):
        backward = min((backward - {i} for i in sorted(backward)), key=error)
        greedy = min((greedy | {i} for i in range(9) if i not in greedy), key=error)
        for method, keep in (("backward", backward), ("greedy", greedy)):
            found = truncate(start, len(keep), method=method)
            assert nmse(found) == pytest.approx(error(keep), rel=1e-6)
            assert np.array_equal(found.encode_x, start.encode_x[sorted(keep)])
    with pytest.raises(InvalidInput, match="method"):
        truncate(start, 3, method="sideways")


def test_spectral_truncation_keeps_the_better_selection():
    request = Request(TileFormat(2, 2, 2), 5, parse_group("C2^3"), 0)
    whole = family("fourier").propose(Request(request.tile, 5, request.group, 0))
    kept = family("fourier-spectral").propose(request)
    assert kept.rank == 5 < whole.rank
    errors = [nmse(truncate(whole, 5, method=method)) for method in ("backward", "greedy")]
    assert nmse(kept) == pytest.approx(min(errors), rel=1e-12)


def test_the_census_has_every_type_once_and_agrees_with_the_single_answers():
    rows = list(census(2, 8, nodes=5000))
    assert [row.group.order for row in rows] == sorted(row.group.order for row in rows)
    assert len(rows) == len({frozenset(standard_names(row.group)) for row in rows}) == 13
    for row in rows:
        assert row.proven
        assert realises(row.group, TileFormat(2, 2, 2)).realised == (row.largest >= 2)
        # An abelian group needs at least nkm elements; S3 is the smallest group that does with fewer.
        assert not row.group.is_abelian or row.largest == 1 or row.group.order >= row.largest**3
    assert [r.group.name for r in rows if r.largest == 2 and r.group.order < 8] == ["S3"]
