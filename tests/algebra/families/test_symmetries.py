"""Groups given by generators, stabilisers of algorithms, and algorithms found from their symmetry."""

import numpy as np
import pytest

from stl_algebra import InvalidInput, TileFormat, TooLarge, kronecker, sandwich, verify
from stl_algebra.algorithms.balance import balance, inverse_gauge, product_matrices
from stl_algebra.algorithms.tensor import definition
from stl_algebra.exact.catalogue import exact_algorithm, laderman, strassen, winograd
from stl_algebra.exact.frames import rational_by_frames
from stl_algebra.exact.symmetries import NAMED_SYMMETRIES
from stl_algebra.families.orbits import (
    GeneratedSymmetry,
    Symmetry,
    TensorMap,
    is_invariant,
    orbit_types,
    search_with_symmetry,
    stabiliser,
    symmetry_of,
)
from stl_algebra.families.orbits.tensor_maps import MODE_NAMES, side_sources
from stl_algebra.groups import isomorphic
from stl_algebra.published import encoders

KNOWN = {"strassen": strassen, "laderman": laderman, "rational-48": lambda: encoders("4x4x4", 48)}


def _drawn_map(sides, modes, rng):
    """A map for these modes with well-conditioned random bases."""
    return TensorMap(modes, *(np.eye(s) + 0.3 * rng.normal(size=(s, s)) for s in sides))


@pytest.mark.parametrize("sides", [(2, 3, 4), (2, 3, 2), (2, 3, 3), (3, 3, 2), (2, 2, 2)])
def test_maps_keep_the_tensor(sides):
    """tr(A B C) is the value of the tensor on a triple."""
    rng = np.random.default_rng(0)
    n, k, m = sides
    triple = [rng.normal(size=shape) for shape in ((5, n, k), (5, k, m), (5, m, n))]
    value = np.einsum("rab,rbc,rca->r", *triple)
    for modes in MODE_NAMES:
        if [sides[s] for s in side_sources(modes)] != list(sides):
            with pytest.raises(InvalidInput, match="modes"):
                _drawn_map(sides, modes, rng)
            continue
        image = _drawn_map(sides, modes, rng).apply(triple)
        assert np.allclose(np.einsum("rab,rbc,rca->r", *image), value)


def test_conjugation_is_the_change_of_bases_before_and_after():
    rng = np.random.default_rng(1)
    triple = list(product_matrices(strassen()))
    for modes in MODE_NAMES:
        given, change = _drawn_map((2, 2, 2), modes, rng), _drawn_map((2, 2, 2), (0, 1, 2), rng)
        back = TensorMap((0, 1, 2), *inverse_gauge(change.gauge))
        for one, two in zip(
            given.conjugated(change.gauge).apply(triple),
            change.apply(given.apply(back.apply(triple))),
            strict=True,
        ):
            assert np.allclose(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_SYMMETRIES)
def test_spellings_are_read_back(name):
    symmetry = symmetry_of(name)[0]
    again, _ = symmetry_of(str(symmetry))
    assert isinstance(again, GeneratedSymmetry)
    assert np.allclose(again.maps, symmetry.maps)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_SYMMETRIES)
def test_the_maps_compose_as_the_table_says(name):
    action = symmetry_of(name)[0].action
    rng = np.random.default_rng(2)
    for i, j in rng.integers(len(action.maps), size=(200, 2)):
        assert np.allclose(action.maps[i] @ action.maps[j], action.maps[action.group.table[i, j]], atol=1e-9)
    assert np.allclose(action.maps @ action.maps.swapaxes(1, 2), np.eye(action.maps.shape[1]), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_SYMMETRIES)
def test_the_library_has_the_stabilisers_of_the_known_algorithms(name):
    known = NAMED_SYMMETRIES[name]
    found = stabiliser(KNOWN[name]())
    assert found.dimension == 0
    assert found.order == symmetry_of(name)[0].order == found.symmetry.order
    assert tuple(len(o) for o in found.orbits) == known.orbit_sizes
    assert sum(known.orbit_sizes) == known.rank == KNOWN[name]().rank
    assert isomorphic(found.symmetry.group, symmetry_of(name)[0].group)
    assert isomorphic(found.symmetry.preserving, symmetry_of(name)[0].preserving)


@pytest.mark.slow
def test_strassens_is_s3_times_s3_and_so_is_winograds():
    for algorithm in (strassen(), winograd()):
        found = stabiliser(algorithm)
        assert (found.order, found.preserving_order) == (36, 6)
        assert isomorphic(found.symmetry.group, "S3xS3")
        assert len(found.modes) == 6


@pytest.mark.slow
def test_ladermans_is_s4():
    found = stabiliser(laderman())
    assert isomorphic(found.symmetry.group, "S4")
    assert isomorphic(found.symmetry.preserving, "C2^2")


@pytest.mark.slow
def test_the_48s_is_extraspecial_with_a_twisted_swap():
    found = stabiliser(encoders("4x4x4", 48))
    part = found.symmetry.preserving
    assert (found.order, part.order) == (64, 32)
    assert np.count_nonzero(part.element_orders == 2) == 19
    assert isomorphic(part, "SmallGroup(32,49)")
    # Extraspecial: centre, derived subgroup and squares are one subgroup of order 2.
    centre = np.flatnonzero((part.table == part.table.T).all(axis=1))
    commutators = part.table[part.conjugates, part.inverse]
    assert len(centre) == 2
    assert set(np.unique(commutators)) == set(centre) == set(np.unique(np.diag(part.table)))
    assert found.modes == ("WXZ", "XWZ")
    assert found.ranks == ((1, 1, 1), (2, 2, 2))


@pytest.mark.slow
def test_a_change_of_bases_does_not_change_the_stabiliser():
    rng = np.random.default_rng(5)
    moved = sandwich(laderman(), *(np.eye(3) + 0.3 * rng.normal(size=(3, 3)) for _ in range(3)))
    assert stabiliser(moved).order == 24


@pytest.mark.slow
def test_products_of_algorithms_have_products_of_stabilisers():
    """S3 x S3 on both levels, the swap of the levels, and common permutations of the modes."""
    assert stabiliser(kronecker(strassen(), strassen())).order == 6 * 6 * 2 * 6


def test_the_definition_has_a_torus():
    """Diagonal P, Q, R up to factors: 3 n - 3 dimensions; signs and permutations are its compact part."""
    found = stabiliser(definition(TileFormat(2, 2, 2)))
    assert found.dimension == 3
    assert found.preserving_order == 2**3 * 2**3


def test_what_spans_too_little_is_refused():
    with pytest.raises(InvalidInput, match="span"):
        stabiliser(encoders("4x4x4", 48).with_factors(encode_x=np.ones((48, 16))))


@pytest.mark.slow
def test_non_orthogonal_generators_find_their_bases():
    rng = np.random.default_rng(6)
    change = tuple(np.eye(3) + 0.4 * rng.normal(size=(3, 3)) for _ in range(3))
    known = symmetry_of("laderman")[0]
    moved = Symmetry.from_generators([g.conjugated(change) for g in known.generators])
    assert moved.order == known.order
    algorithm = sandwich(laderman(), *(g.T for g in change))
    assert is_invariant(sandwich(algorithm, *(b.T for b in moved.bases)), moved, tolerance=1e-9)


def test_formats_with_two_sides_alike_may_swap():
    """<2,3,2>: X and W^T change places; the forms twist the transposes."""
    form = np.array([[0.0, 1.0], [-1.0, 0.0]])
    symmetry = Symmetry.from_generators([((1, 0, 2), form, np.diag([1.0, -1.0, 1.0]), form)])
    assert symmetry.tile == TileFormat(2, 3, 2)
    assert symmetry.modes == ("WXZ", "XWZ")
    assert sum(o.size for o in orbit_types(symmetry)) >= 2


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("nonsense", InvalidInput, "strassen, laderman, rational-48"),
        ("XWZ(2 1;2 1)", InvalidInput, "generators such as"),
        ("XWZ(2 3;2 1;1 2)", InvalidInput, "matrix"),
        ("XWZ(1 1,1 1;2 1;1 2)", InvalidInput, "invertible"),
        ("ZXW(2 1;1 2 3;2 1)", InvalidInput, "modes"),
        ("XWZ(2 1;2 1;2 1)|XWZ(1 2 3;1 2 3;1 2 3)", InvalidInput, "one format"),
        ("XWZ(3 4,-4 3;1 2;1 2)", TooLarge, "more than 576"),
    ],
)
def test_what_is_no_symmetry_is_refused(text, error, match):
    with pytest.raises(error, match=match):
        symmetry_of(text)


@pytest.mark.slow
def test_strassens_algorithm_is_found_from_its_symmetry():
    """Most of the first dozen starts succeed or fail at once; 60 of them miss with no chance to speak of."""
    for step in search_with_symmetry("2x2x2", None, "strassen", budget=600):
        assert step.number < 60
        if step.found is not None:
            break
    assert verify(step.found).exact
    assert stabiliser(step.found).order == 36


@pytest.mark.slow
def test_the_search_says_what_does_not_fit():
    with pytest.raises(InvalidInput, match="symmetry: expected one of <3,3,3>"):
        search_with_symmetry("3x3x3", None, "strassen")
    with pytest.raises(InvalidInput, match="add up to 7"):
        search_with_symmetry("2x2x2", 7, "strassen", orbit_sizes=(6, 2))
    with pytest.raises(InvalidInput, match="orbits of sizes"):
        search_with_symmetry("2x2x2", 7, "strassen", orbit_sizes=(5, 2))


def test_frames_make_the_48_rational_again_from_any_bases():
    rng = np.random.default_rng(7)
    known = encoders("4x4x4", 48)
    moved = balance(sandwich(known, *(np.eye(4) + 0.2 * rng.normal(size=(4, 4)) for _ in range(3))))
    assert not verify(moved).exact
    found = rational_by_frames(moved)
    assert verify(found).ring == "Z[1/2]"
    assert verify(found).exact


def test_the_48_is_shipped_with_the_command_that_found_it():
    shipped = exact_algorithm(TileFormat(4, 4, 4))
    assert shipped.rank == 48
    assert verify(shipped).ring == "Z[1/2]"
    assert "--symmetry rational-48" in shipped.provenance.command
    assert shipped == encoders("4x4x4", rank=48)
