"""Other programs' files: every shape of an algorithm is read to the right verdict, or refused in words."""

import json
import pickle

import numpy as np
import pytest

from stl_algebra import InvalidInput, verify
from stl_algebra.algorithms.additions import count_additions
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import RINGS, holds_over
from stl_algebra.exact.catalogue import exact_algorithm, strassen, winograd
from stl_algebra.factor_files import SUFFIXES, read_factors, write_factors
from stl_algebra.factor_files.raw import sides_of
from stl_algebra.published import encoders

FORMATS = ["2x2x2", "2x3x3", "2x2x3", "3x2x4", "1x2x3"]


def algorithm(slug):
    return exact_algorithm(TileFormat.parse(slug))


def matrices(a, rows, transposed):
    """u, v, w of an algorithm with rows or columns per product, for C or C^T."""
    t, decode = a.tile, a.decode
    if transposed:
        decode = decode.reshape(t.n, t.m, -1).transpose(1, 0, 2).reshape(t.y_size, -1)
    u, v, w = a.encode_x, a.encode_w, decode.T
    return (u, v, w) if rows else (u.T, v.T, w.T)


def written(folder, kind, a, rows=False, transposed=False):
    u, v, w = matrices(a, rows, transposed)
    if kind == "npz":
        path = folder / "a.npz"
        np.savez(path, u=u, v=v, w=w)
    elif kind == "keyed":
        path = folder / "a.npz"
        np.savez(path, **{a.tile.slug.replace("x", ","): np.array([u, v, w])})
    else:
        path = folder / "a.json"
        sides = {"n": [a.tile.n, a.tile.k, a.tile.m], "m": a.rank, "z2": False} if kind == "catalogue" else {}
        lists = {key: m.tolist() for key, m in zip("uvw", (u, v, w), strict=True)}
        path.write_text(json.dumps({**sides, **lists}))
    return path


@pytest.mark.parametrize("slug", FORMATS)
@pytest.mark.parametrize("kind", ["npz", "catalogue", "lists"])
@pytest.mark.parametrize("rows", [True, False], ids=["rows", "columns"])
@pytest.mark.parametrize("transposed", [True, False], ids=["C^T", "C"])
def test_what_verifies_is_taken_and_said(slug, kind, rows, transposed, tmp_path):
    a = algorithm(slug)
    read = read_factors(written(tmp_path, kind, a, rows, transposed))
    assert read.judged.exact
    assert read.judged.algorithm.tile == a.tile
    assert verify(read.judged.algorithm).exact
    if slug == "2x3x3":
        words = f"{'rows' if rows else 'columns'} per product, output {'C^T' if transposed else 'C'}"
        assert words in read.conventions
        assert read.judged.algorithm == a


def test_a_key_names_the_format(tmp_path):
    assert read_factors(written(tmp_path, "keyed", strassen())).judged.algorithm == strassen()
    np.savez(tmp_path / "two.npz", **{"2,2,2": np.ones((3, 4, 7)), "3,3,3": np.ones((3, 9, 23))})
    with pytest.raises(InvalidInput, match="several algorithms"):
        read_factors(tmp_path / "two.npz")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "longdouble"])
def test_odd_dtypes_are_numbers(dtype, tmp_path):
    a = strassen() if dtype != "uint8" else algorithm("1x2x3")
    parts = [m.astype(dtype) for m in matrices(a, False, False)]
    np.savez(tmp_path / "a.npz", **dict(zip("uvw", parts, strict=True)))
    assert read_factors(tmp_path / "a.npz").judged.exact


def test_modulo_two_is_said_and_not_hidden(tmp_path):
    parts = [np.abs(m) for m in matrices(strassen(), True, False)]
    np.savez(tmp_path / "bool.npz", **{k: m.astype(bool) for k, m in zip("uvw", parts, strict=True)})
    document = {k: m.astype(int).tolist() for k, m in zip("uvw", parts, strict=True)}
    (tmp_path / "z2.json").write_text(json.dumps({"n": [2, 2, 2], "m": 7, "z2": True, **document}))
    for name in ("bool.npz", "z2.json"):
        read = read_factors(tmp_path / name)
        assert not read.judged.exact
        assert "exact over GF(2) only" in read.judged.verification.message
        rings = [ring for ring in RINGS if holds_over(read.judged.algorithm, ring)]
        assert rings == ["GF(2)"]
    assert "no sign" in read_factors(tmp_path / "bool.npz").conventions


def test_rings_hold_each_other():
    assert [holds_over(strassen(), ring) for ring in RINGS] == [True] * 5
    thirds = strassen().with_factors(strassen().encode_x * 3, decode=strassen().decode / 3)
    assert [r for r in RINGS if holds_over(thirds, r)] == ["Q", "GF(2)"]
    halves = strassen().with_factors(strassen().encode_x * 2, decode=strassen().decode / 2)
    assert [r for r in RINGS if holds_over(halves, r)] == ["Z[1/2]", "Q", "GF(3)"]
    assert [r for r in RINGS if holds_over(encoders("4", 32), r)] == []
    with pytest.raises(InvalidInput, match="ring"):
        holds_over(strassen(), "R")


def test_one_wrong_entry_is_counted_and_near_misses_are_named(tmp_path):
    a = algorithm("2x3x3")
    wrong = a.with_factors(encode_x=a.encode_x + np.eye(15, 6)[::-1])
    read = read_factors(written(tmp_path, "catalogue", wrong, True))
    assert "entries of the tensor differ" in read.judged.verification.message
    assert not read.hint
    t = strassen()
    # Winograd's form, because Strassen's is symmetric enough to survive the exchange.
    np.savez(tmp_path / "swapped.npz", u=winograd().encode_w.T, v=winograd().encode_x.T, w=winograd().decode)
    swapped = read_factors(tmp_path / "swapped.npz")
    assert swapped.judged.exact or "exchanged" in swapped.hint
    u = t.encode_x.reshape(7, 2, 2).transpose(0, 2, 1).reshape(7, 4)
    np.savez(tmp_path / "turned.npz", u=u.T, v=t.encode_w.T, w=t.decode)
    assert "X transposed" in read_factors(tmp_path / "turned.npz").hint


class Hostile:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_nothing_is_unpickled(tmp_path):
    array = np.empty(3, dtype=object)
    array[:] = [Hostile()] * 3
    np.savez(tmp_path / "hostile.npz", **{"2,3,3": array})
    np.savez(tmp_path / "named.npz", u=array, v=array, w=array)
    for name in ("hostile.npz", "named.npz"):
        with pytest.raises(InvalidInput, match="unpickling; where you trust the file"):
            read_factors(tmp_path / name)
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InvalidInput):
        read_factors(tmp_path / "raw.npz")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.json", "{", "JSON document"),
        ("a.json", "[1]", "JSON object"),
        ("a.json", '{"u": [[1]], "v": [[1]]}', "one algorithm"),
        ("a.json", '{"u": [[1, 2]], "v": [[1]], "w": [[1, 2, 3]]}', "three matrices"),
        ("a.json", '{"u": [["x"]], "v": [[1]], "w": [[1]]}', "fractions"),
        ("a.json", '{"u": [[1e999]], "v": [[1]], "w": [[1]]}', "finite"),
        ("a.json", '{"n": [2, 2, 3], "u": [[1]], "v": [[1]], "w": [[1]]}', "<2,2,3>"),
        ("a.npz", "nothing", "npz"),
        ("a.txt", "1 2 3", ".safetensors, .npz, .json, .sms"),
        ("a_L.sms", "2 2 M\n1 1 1\n0 0 0\n", "a_R.sms"),
        ("a.sms", "2 2 M\n0 0 0\n", "L.sms"),
    ],
)
def test_what_is_none_is_refused_in_words(name, content, word, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput) as caught:
        read_factors(tmp_path / name)
    assert word in str(caught.value)


def test_complex_files_say_what_they_cannot_be(tmp_path):
    parts = {k: m.astype(complex) for k, m in zip("uvw", matrices(strassen(), False, False), strict=True)}
    np.savez(tmp_path / "a.npz", **parts)
    with pytest.raises(InvalidInput, match="imaginary parts are zero"):
        read_factors(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **{k: m * 1j for k, m in parts.items()})
    with pytest.raises(InvalidInput, match="rank 3r"):
        read_factors(tmp_path / "b.npz")


def test_formats_follow_from_the_sizes():
    for n, k, m in np.ndindex(6, 6, 6):
        tile = TileFormat(n + 1, k + 1, m + 1)
        assert sides_of((tile.x_size, tile.w_size, tile.y_size)) == tile
    assert sides_of((2, 3, 5)) is None


@pytest.mark.parametrize("convention", ["C", "C^T"])
@pytest.mark.parametrize(
    "source", [strassen(), exact_algorithm(TileFormat(2, 3, 4)), encoders("4", 20)], ids=repr
)
@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in (".py", ".tex")])
def test_what_is_written_is_read_again(suffix, source, convention, tmp_path):
    judged = Judged.of(source)
    paths = write_factors(judged, tmp_path / f"a{suffix}", convention)
    assert all(p.suffix == suffix for p in paths)
    if suffix == ".sms" and not judged.exact and convention == "C^T":
        return  # nothing tells the conventions of an approximate algorithm apart
    read = read_factors(paths[0])
    assert read.judged.algorithm == source
    assert read.judged.exact == judged.exact


def test_other_names_in_the_catalogues_shape(tmp_path):
    """u, v, w of our JSON, without our own names, are the catalogue's form."""
    (path,) = write_factors(Judged.of(strassen()), tmp_path / "a.json", "C^T")
    data = json.loads(path.read_text())
    assert (data["n"], data["m"], data["z2"]) == ([2, 2, 2], 7, False)
    for name in ("encode_x", "encode_w", "decode"):
        del data[name]
    path.write_text(json.dumps(data))
    read = read_factors(path)
    assert "rows per product, output C^T" in read.conventions
    assert read.judged.algorithm == strassen()


@pytest.mark.parametrize("source", [winograd(), exact_algorithm(TileFormat(2, 3, 4))], ids=repr)
def test_written_code_multiplies_blocks(source, tmp_path):
    (path,) = write_factors(Judged.of(source), tmp_path / "scheme.py")
    namespace = {}
    exec(path.read_text(), namespace)
    function = next(f for name, f in namespace.items() if name.startswith("multiply_"))
    t, rng = source.tile, np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (2 * t.n, 3 * t.k)), rng.integers(-9, 9, (3 * t.k, 2 * t.m))
    assert np.array_equal(function(x, w), x @ w)
    (tex,) = write_factors(Judged.of(source), tmp_path / "scheme.tex")
    assert tex.read_text().count(r"\\") == source.rank + t.y_size


def test_a_suffix_says_the_kind(tmp_path):
    for target in ("a.pt", "a"):
        with pytest.raises(InvalidInput, match=r"to: expected a file name that ends in \.npz"):
            write_factors(Judged.of(strassen()), tmp_path / target)
    with pytest.raises(InvalidInput, match="output-convention"):
        write_factors(Judged.of(strassen()), tmp_path / "a.npz", "CT")


def test_additions_of_strassen_and_winograd():
    """18 and 15 (Winograd 1971), the latter with shared sums."""
    assert sum(count_additions(strassen()).plain) == sum(count_additions(strassen()).shared) == 18
    assert sum(count_additions(winograd()).plain) == 24
    assert sum(count_additions(winograd()).shared) == 15
    assert count_additions(algorithm("1x2x3")).plain == (0, 0, 3)
    assert count_additions(encoders("4", 20)).scalings > 0
