"""The bilinear algorithm value, composition and symmetries, exact verification, the encoders file."""

import copy
import pickle

import numpy as np
import pytest

from stl_algebra import (
    BilinearAlgorithm,
    InvalidInput,
    NotExact,
    Provenance,
    TileFormat,
    Unavailable,
    cyclic_shift,
    definition,
    direct_sum,
    kronecker,
    load_encoders,
    matmul_tensor,
    permute_format,
    require_exact,
    sandwich,
    save_encoders,
    transpose,
    verify,
)
from stl_algebra.exact.catalogue import exact_algorithm

FORMATS = [TileFormat(2, 2, 2), TileFormat(2, 3, 4), TileFormat(3, 1, 2), TileFormat(1, 1, 1)]


@pytest.mark.parametrize(
    ("text", "sides"),
    [("4", (4, 4, 4)), ("4x4x2", (4, 4, 2)), ("<2,3,5>", (2, 3, 5)), (" 2 ", (2,) * 3)],
)
def test_tile_format_reads_every_spelling(text, sides):
    tile = TileFormat.parse(text)
    assert (tile.n, tile.k, tile.m) == sides
    assert TileFormat.parse(str(tile)) == TileFormat.parse(tile.slug) == tile


@pytest.mark.parametrize("text", ["4x", "x4", "", "4x4", "0", "-1", "4x4x4x4", "four", "65", "4.0"])
def test_tile_format_rejects_malformed_text(text):
    with pytest.raises(InvalidInput, match="tile"):
        TileFormat.parse(text)


@pytest.mark.parametrize("tile", FORMATS, ids=str)
def test_definition_computes_the_product_in_integers(tile):
    algorithm = definition(tile)
    assert np.array_equal(algorithm.tensor(), matmul_tensor(tile))
    rng = np.random.default_rng(1)
    x = rng.integers(-9, 9, (2 * tile.n, 3 * tile.k))
    w = rng.integers(-9, 9, (3 * tile.k, 2 * tile.m))
    assert np.array_equal(algorithm.multiply(x, w), x @ w)
    assert require_exact(algorithm).ring == "Z"


@pytest.mark.parametrize("tile", FORMATS, ids=str)
def test_symmetries_keep_exactness(tile):
    algorithm = definition(tile)
    for turned in (cyclic_shift(algorithm), transpose(algorithm)):
        assert verify(turned).exact
    thrice = cyclic_shift(cyclic_shift(cyclic_shift(algorithm)))
    assert thrice == algorithm
    assert transpose(transpose(algorithm)) == algorithm
    target = TileFormat(tile.m, tile.n, tile.k)
    assert permute_format(algorithm, target).tile == target


def test_symmetries_keep_the_squared_error_of_any_algorithm():
    rng = np.random.default_rng(2)
    tile = TileFormat(2, 3, 2)
    algorithm = BilinearAlgorithm(
        tile, rng.normal(size=(5, 6)), rng.normal(size=(5, 6)), rng.normal(size=(4, 5))
    )

    def error(candidate):
        return np.sum((candidate.tensor() - matmul_tensor(candidate.tile)) ** 2)

    q = [np.linalg.qr(rng.normal(size=(s, s)))[0] for s in (2, 3, 2)]
    for turned in (cyclic_shift(algorithm), transpose(algorithm), sandwich(algorithm, *q)):
        assert error(turned) == pytest.approx(error(algorithm), rel=1e-12)


def test_sandwich_by_integer_matrices_keeps_exactness():
    a = np.array([[1, 1], [0, 1]])
    b = np.array([[1, 0], [2, 1]])
    c = np.array([[0, 1], [1, 0]])
    assert verify(sandwich(definition(TileFormat(2, 2, 2)), a, b, c)).exact
    with pytest.raises(InvalidInput, match="invertible"):
        sandwich(definition(TileFormat(2, 2, 2)), np.zeros((2, 2)), b, c)


def test_compositions_are_exact_for_the_composed_format():
    first, second = definition(TileFormat(2, 3, 1)), definition(TileFormat(1, 2, 2))
    product = kronecker(first, second)
    assert product.tile == TileFormat(2, 6, 2)
    assert product.rank == first.rank * second.rank
    assert verify(product).exact
    base = definition(TileFormat(2, 3, 4))
    for axis, other in (
        ("n", TileFormat(1, 3, 4)),
        ("k", TileFormat(2, 2, 4)),
        ("m", TileFormat(2, 3, 5)),
    ):
        total = direct_sum(base, definition(other), axis)
        assert verify(total).exact
        assert total.rank == base.rank + other.products
    with pytest.raises(InvalidInput, match="same side"):
        direct_sum(base, definition(TileFormat(2, 2, 2)), "n")


def test_value_is_immutable_and_compares_by_numbers():
    algorithm = definition(TileFormat(2, 2, 2))
    with pytest.raises(ValueError, match="read-only"):
        algorithm.encode_x[0, 0] = 5
    with pytest.raises(AttributeError):
        algorithm.name = "other"
    assert algorithm == algorithm.renamed("other", Provenance(seed=3))
    assert hash(algorithm) == hash(algorithm.renamed("other"))
    assert algorithm != algorithm.with_factors(decode=algorithm.decode * 2)
    for copied in (copy.deepcopy(algorithm), pickle.loads(pickle.dumps(algorithm))):
        assert copied == algorithm
        assert copied.provenance == algorithm.provenance


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("encode_x", np.ones((7, 5)), "encode_x: expected shape"),
        ("encode_w", np.ones((6, 4)), "encode_w: expected shape"),
        ("decode", np.full((4, 7), np.nan), "NaN"),
        ("decode", np.ones(7), "2 axes"),
        ("encode_w", np.ones((7, 4)) * 1j, "real entries"),
        ("encode_w", [["a"] * 4] * 7, "real numbers"),
    ],
)
def test_value_names_the_bad_factor(key, value, message):
    factors = {"encode_x": np.ones((7, 4)), "encode_w": np.ones((7, 4)), "decode": np.ones((4, 7))}
    factors[key] = value
    with pytest.raises(InvalidInput, match=message):
        BilinearAlgorithm("2", **factors)


@pytest.mark.slow
def test_any_single_changed_entry_is_noticed():
    algorithm = definition(TileFormat(2, 2, 2))
    for key in ("encode_x", "encode_w", "decode"):
        for index in np.ndindex(getattr(algorithm, key).shape):
            for change in (1.0, 2.0**-40, -0.5):
                factor = getattr(algorithm, key).copy()
                factor[index] += change
                assert not verify(algorithm.with_factors(**{key: factor})).exact


def test_denominators_that_are_large_together_are_verified_too():
    # Each product scaled by u, v and 1 / (u v): common denominators of three factors multiply to 75 bits.
    plain = exact_algorithm("2x2x2")
    u, v = np.ones((2, 7, 1))
    u[:2, 0], v[2:4, 0], u[4, 0], v[5, 0] = (1 / 4093, 1 / 4091), (1 / 4079, 1 / 4073), 4057.0, 4051.0
    back = np.array([4093, 4091, 4079, 4073, 1 / 4057, 1 / 4051, 1])
    scaled = plain.with_factors(plain.encode_x * u, plain.encode_w * v, plain.decode * back)
    outcome = verify(scaled)
    assert np.prod([float(d) for d in outcome.denominators]) > 2**63
    assert (outcome.exact, outcome.ring, outcome.gf2) == (True, "Q", True)
    wrong = scaled.with_factors(encode_x=scaled.encode_x * np.array([[2.0]] + [[1.0]] * 6))
    assert not verify(wrong).exact


def test_rational_entries_are_verified_as_fractions():
    algorithm = definition(TileFormat(2, 1, 2))
    third = algorithm.with_factors(algorithm.encode_x * 3, decode=algorithm.decode / 3)
    outcome = verify(third)
    assert outcome.exact
    assert (outcome.ring, outcome.denominators) == ("Q", (1, 1, 3))
    assert outcome.gf2 is True
    half = algorithm.with_factors(algorithm.encode_x * 2, decode=algorithm.decode / 2)
    assert (verify(half).ring, verify(half).gf2) == ("Z[1/2]", None)
    with pytest.raises(NotExact, match="no rational"):
        require_exact(algorithm.with_factors(algorithm.encode_x * np.pi))


def test_file_round_trip_and_what_it_refuses(tmp_path):
    algorithm = definition(TileFormat(2, 3, 2)).renamed("plain", Provenance(family="x", seed=3, steps=("a",)))
    path = save_encoders(tmp_path / "deep" / "plain.safetensors", algorithm, {"nmse": 0.0})
    loaded = load_encoders(path)
    assert loaded.algorithm == algorithm
    assert loaded.algorithm.provenance == algorithm.provenance
    assert loaded.algorithm.name == "plain"
    assert loaded.scores == {"nmse": 0.0}
    assert loaded.exactness["exact"] is True
    assert [p.name for p in path.parent.iterdir()] == [path.name]

    content = path.read_bytes()
    for cut in (0, 5, 100, len(content) - 8):
        path.write_bytes(content[:cut])
        with pytest.raises(InvalidInput, match="safetensors"):
            load_encoders(path)
    path.write_bytes(content.replace(b'"stl_file_version":"1"', b'"stl_file_version":"9"'))
    with pytest.raises(InvalidInput, match="upgrade"):
        load_encoders(path)
    with pytest.raises(InvalidInput, match="no such file"):
        load_encoders(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="finite"):
        save_encoders(path, algorithm, {"nmse": float("nan")})
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write"):
        save_encoders(tmp_path / "file" / "x.safetensors", algorithm)
