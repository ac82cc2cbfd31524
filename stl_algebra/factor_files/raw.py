"""What a file says before anything is decided: three matrices, perhaps a format, perhaps that it is modulo 2.

One function a kind of file; each raises `InvalidInput` that names the file, what was expected and what was
got. What does not belong here: which axis is the product and whether the output is transposed (`orient`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput

#: Larger files hold no algorithm of a tile.
_LARGEST_FILE = 256 << 20
_KEYED = re.compile(r"(\d+),(\d+),(\d+)")
_SMS_PART = re.compile(r"(.*?)([LRP])(\.sms)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, eq=False)
class RawFactors:
    """Three matrices as a file has them.

    Attributes:
        matrices: of X, of W, of the output; each has the products along one of its axes.
        tile: the format, None where the file does not say.
        kind: of file, in words.
        own: the file is one of ours: rows per product for the encoders, columns for the decoder, nothing
        open. modulo_2: the file says that it holds modulo 2.
        extra: name and provenance of our own exports.
    """

    matrices: tuple[Array, Array, Array]
    tile: TileFormat | None
    kind: str
    own: bool = False
    modulo_2: bool = False
    extra: Mapping[str, Any] | None = None


def read_raw(path: Path) -> RawFactors:
    """The matrices of a .npz, .json or .sms file.

    Raises:
        InvalidInput: no such file, an unknown suffix, or not what the suffix says.
    """
    label = f"factor file {path}"
    if not path.is_file():
        raise InvalidInput(
            label, expected="an existing file", got="a folder" if path.is_dir() else "no such file"
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join([".safetensors", *_READERS])
        raise InvalidInput(label, expected=f"a file name that ends in {known}", got=path.name)
    if path.stat().st_size > _LARGEST_FILE:
        raise InvalidInput(
            label, expected=f"at most {_LARGEST_FILE >> 20} MB", got=f"{path.stat().st_size} bytes"
        )
    return reader(path, label)


def _npz(path: Path, label: str) -> RawFactors:
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = list(stored.files)
            arrays = {name: _plain(stored, name, label) for name in names}
    except InvalidInput:
        raise
    except Exception as error:  # zipfile, numpy and zlib each raise their own
        raise InvalidInput(label, expected="a readable .npz file", got=str(error)) from error
    return _from_names(arrays, label, "npz")


def _plain(stored: Any, name: str, label: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = stored[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        # An object array is a pickle, which may run anything when it is read.
        raise InvalidInput(
            label,
            expected="plain arrays",
            got=f"an object array under {name!r}, which numpy reads only by unpickling",
            hint="where you trust the file: u, v, w = numpy.load(FILE, allow_pickle=True)[KEY]; "
            "numpy.savez(NEW, u=u, v=v, w=w)",
        ) from error
    return array


def _json(path: Path, label: str) -> RawFactors:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InvalidInput(label, expected="a JSON document", got=str(error)) from error
    if not isinstance(data, dict):
        raise InvalidInput(label, expected="a JSON object", got=type(data).__name__)
    return _from_names(data, label, "json")


def _from_names(data: Mapping[str, Any], label: str, kind: str) -> RawFactors:
    """Matrices under the names that programs use."""
    own = ("encode_x", "encode_w", "decode")
    if all(name in data for name in own):
        x, w, d = (_matrix(data[name], f"{label}, {name}") for name in own)
        extra = {k: data[k] for k in ("name", "provenance") if isinstance(data.get(k), (str, dict))}
        return RawFactors((x, w, d.T), _format(data.get("format"), label), f"our {kind}", True, False, extra)
    if all(name in data for name in "uvw"):
        u, v, w = (_matrix(data[name], f"{label}, {name}") for name in "uvw")
        sides = data.get("format", data.get("n"))
        tile = _format(sides, label) if np.ndim(sides) == 1 else None
        signless = any(np.asarray(data[name]).dtype == np.bool_ for name in "uvw")
        words = f"u, v, w in {kind}" + (", True and False as 1 and 0, which have no sign" if signless else "")
        return RawFactors((u, v, w), tile, words, modulo_2=signless or bool(data.get("z2", False)))
    keyed = [name for name in data if _KEYED.fullmatch(name)]
    if len(keyed) == 1:
        parts = data[keyed[0]]
        if len(parts) != 3:
            raise InvalidInput(f"{label}, {keyed[0]}", expected="three matrices", got=f"{len(parts)} parts")
        u, v, w = (_matrix(part, f"{label}, {keyed[0]}") for part in parts)
        tile = TileFormat.parse(keyed[0].replace(",", "x"))
        return RawFactors((u, v, w), tile, f"a matrix triple under {keyed[0]!r} in {kind}")
    got = ", ".join(map(repr, list(data)[:6])) or "nothing"
    if keyed:
        got += ": several algorithms"
    raise InvalidInput(
        label,
        expected='one algorithm: u, v, w, or encode_x, encode_w, decode, or a key such as "2,3,3"',
        got=got,
        hint="or give an encoders file (.safetensors)",
    )


def _format(sides: Any, label: str) -> TileFormat | None:
    if sides is None:
        return None
    try:
        n, k, m = (int(side) for side in sides)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{label}, format", expected="three sizes n, k, m", got=repr(sides)) from error
    return TileFormat(n, k, m)


def _matrix(values: Any, label: str) -> Array:
    """float64 from any real dtype, nested lists, or fractions written "p/q"."""
    if isinstance(values, list):
        values = [[_number(v, label) for v in row] if isinstance(row, list) else row for row in values]
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise InvalidInput(
            label,
            expected="real entries: an algorithm for tiles of real matrices",
            got=f"dtype {array.dtype}",
            hint="its imaginary parts are zero: save the real parts"
            if not np.any(array.imag)
            else "a complex algorithm cannot be run on real tiles; one of rank r gives a real one of rank 3r",
        )
    if array.dtype.kind not in "fiub":
        raise InvalidInput(label, expected="numbers", got=f"dtype {array.dtype}")
    if array.ndim != 2:
        raise InvalidInput(label, expected="a matrix (2 axes)", got=f"shape {array.shape}")
    if array.size == 0:
        raise InvalidInput(label, expected="at least one product", got=f"shape {array.shape}")
    out = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(out).all():
        raise InvalidInput(label, expected="finite entries", got="NaN or an infinity")
    return out


def _number(value: Any, label: str) -> float:
    try:
        return float(Fraction(value)) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InvalidInput(label, expected='numbers or fractions "p/q"', got=repr(value)) from error


def _sms(path: Path, label: str) -> RawFactors:
    """Three sparse matrices L, R, P in files that differ in that letter alone (plinopt's)."""
    match = _SMS_PART.fullmatch(path.name)
    if match is None:
        raise InvalidInput(
            label, expected="one of three files whose names end in L.sms, R.sms, P.sms", got=path.name
        )
    parts = []
    for letter in "LRP":
        letter = letter if match[2].isupper() else letter.lower()
        part = path.with_name(match[1] + letter + match[3])
        if not part.is_file():
            raise InvalidInput(label, expected=f"the file {part.name} beside it", got="no such file")
        parts.append(_sparse(part))
    left, right, product = parts
    return RawFactors((left, right, product.T), None, "SMS triples L, R, P")


def _sparse(path: Path) -> Array:
    """A matrix of "rows columns letter", then "row column value" from 1, then "0 0 0"."""
    label = f"factor file {path}"
    words = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [w for w in words if w and not w[0].startswith(("#", "%"))]
    try:
        rows, columns = int(lines[0][0]), int(lines[0][1])
        if not (0 < rows <= 1 << 20 and 0 < columns <= 1 << 20 and rows * columns <= 1 << 26):
            raise ValueError(f"a size of {rows} x {columns}")
        out = np.zeros((rows, columns))
        for line in lines[1:]:
            i, j = int(line[0]), int(line[1])
            if i == j == 0:
                break
            if not (1 <= i <= rows and 1 <= j <= columns):
                raise ValueError(f"an entry at {i} {j}")
            out[i - 1, j - 1] = _number(line[2], label)
        else:
            raise ValueError("no closing line 0 0 0")
    except (IndexError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            label, expected='"rows columns M", lines "row column value", "0 0 0"', got=str(error)
        ) from error
    return out


def sides_of(sizes: tuple[int, int, int]) -> TileFormat | None:
    """The format whose n*k, k*m and n*m these are, if there is one."""
    a, b, c = sizes
    sides = [math.isqrt(value) for value in (a * c // b, a * b // c, b * c // a)]
    n, k, m = sides
    if (n * k, k * m, n * m) != sizes or min(sides) < 1 or max(sides) > 64:
        return None
    return TileFormat(n, k, m)


_READERS: dict[str, Callable[[Path, str], RawFactors]] = {".npz": _npz, ".json": _json, ".sms": _sms}
