"""One symmetry of the matrix multiplication tensor, as a map of triples and as a spelling.

Every symmetry of <n,k,m> permutes the three modes, transposing them if the permutation is odd, and then
changes bases (de Groote, On varieties of optimal algorithms I, 1978). On triples (A, B, C) of matrices (n,
k), (k, m), (m, n), in the trilinear form tr(X W Z) with Z = Y^T, that is

    (A, B, C)  ->  (P A' Q^-1, Q B' R^-1, R C' P^-1),

where (A', B', C') are A, B, C in another order, or their transposes in another order. P, Q and R count up to
factors, and a transpose that is twisted by a form F is an odd permutation with F among them. What does not
belong here: groups of such maps (`generated`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np

from stl_algebra.algorithms.balance import Gauge
from stl_algebra.algorithms.bilinear import Array
from stl_algebra.errors import InvalidInput

#: sources -> its spelling: the new (A, B, C) are the old ones with these numbers; odd ones are transposed.
MODE_NAMES: dict[tuple[int, int, int], str] = {
    (a, b, c): "XWZ"[a] + "XWZ"[b] + "XWZ"[c] for a, b, c in permutations(range(3))
}


def is_odd(modes: Sequence[int]) -> bool:
    """The permutation of the modes is a transposition: matrices are transposed."""
    return tuple(modes) in ((2, 1, 0), (1, 0, 2), (0, 2, 1))


@dataclass(frozen=True, eq=False)
class TensorMap:
    """One symmetry of the tensor: (A, B, C) -> (P A' Q^-1, Q B' R^-1, R C' P^-1).

    Attributes:
        modes: A', B', C' are the old matrices with these numbers, transposed where the permutation is odd.
        p, q, r: invertible, (n, n), (k, k), (m, m); factors do not count.

    Raises:
        InvalidInput: no permutation, no invertible matrix, or the format does not allow the modes.
    """

    modes: tuple[int, int, int]
    p: Array
    q: Array
    r: Array

    def __post_init__(self) -> None:
        modes = tuple(int(s) for s in self.modes)
        if modes not in MODE_NAMES:
            raise InvalidInput("modes", expected="a permutation of (0, 1, 2)", got=self.modes)
        object.__setattr__(self, "modes", modes)
        for name in ("p", "q", "r"):
            matrix = np.array(getattr(self, name), dtype=np.float64)
            if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
                raise InvalidInput(name.upper(), expected="a square matrix", got=f"shape {matrix.shape}")
            if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < len(matrix):
                raise InvalidInput(name.upper(), expected="an invertible matrix", got="a singular one")
            matrix /= np.abs(np.linalg.det(matrix)) ** (1 / len(matrix))
            object.__setattr__(self, name, matrix)
        sides = [len(self.p), len(self.q), len(self.r)]
        if [sides[s] for s in side_sources(modes)] != sides:
            raise InvalidInput(
                "modes",
                expected=f"a permutation that <{','.join(map(str, sides))}> allows",
                got=MODE_NAMES[modes],
            )

    @property
    def gauge(self) -> Gauge:
        """(P, Q, R)."""
        return self.p, self.q, self.r

    def apply(self, triple: Sequence[Array]) -> list[Array]:
        """The images of A (..., n, k), B (..., k, m), C (..., m, n)."""
        turned = permuted(self.modes, triple)
        inverses = [np.linalg.inv(g) for g in (self.q, self.r, self.p)]
        return [left @ part @ right for left, part, right in zip(self.gauge, turned, inverses, strict=True)]

    def conjugated(self, gauge: Gauge) -> TensorMap:
        """T g T^-1, T the change of bases by `gauge`."""
        turned = []
        for source in side_sources(self.modes):
            matrix = np.linalg.inv(gauge[source])
            turned.append(np.linalg.inv(matrix).T if is_odd(self.modes) else matrix)
        p, q, r = (t @ own @ back for t, own, back in zip(gauge, self.gauge, turned, strict=True))
        return TensorMap(self.modes, p, q, r)

    def __str__(self) -> str:
        """For example "WXZ(2 1;0 1,-1 1;1 2)", see `parse`."""
        return f"{MODE_NAMES[self.modes]}({';'.join(_spelled(g) for g in self.gauge)})"

    @classmethod
    def parse(cls, text: str) -> TensorMap:
        """Inverse of `str`: the modes, then P, Q and R between semicolons.

        Modes are three letters: "ZXW" says that the new X, W and Z are the old Z, X and W; they are
        transposed when the permutation is odd. A matrix is its rows between commas, entries between spaces,
        fractions allowed; a signed permutation is one row, where -3 in place 1 takes the first unit vector to
        minus the third.

        Raises:
            InvalidInput: the text is no such spelling.
        """
        match = re.fullmatch(r"\s*([XWZ]{3})\s*\(([^;()]+);([^;()]+);([^;()]+)\)\s*", text)
        names = {name: modes for modes, name in MODE_NAMES.items()}
        if match is None or match[1] not in names:
            raise InvalidInput(
                "symmetry", expected='generators such as "XWZ(2 1;2 1;2 1)|ZXW(1 2;1 2;1 2)"', got=repr(text)
            )
        p, q, r = (_matrix(match[i]) for i in (2, 3, 4))
        return cls(names[match[1]], p, q, r)


def side_sources(modes: Sequence[int]) -> tuple[int, int, int]:
    """Which old side n, k, m (0, 1, 2) stands at each new one, dualised where the modes are odd."""
    shift = 1 if is_odd(modes) else 0
    return (modes[0] + shift) % 3, (modes[1] + shift) % 3, (modes[2] + shift) % 3


def permuted(modes: Sequence[int], triple: Sequence[Array]) -> list[Array]:
    """The matrices (..., rows, columns) in another order, transposed where it is odd."""
    return [np.swapaxes(triple[s], -1, -2) if is_odd(modes) else triple[s] for s in modes]


def _spelled(matrix: Array) -> str:
    """Rows between commas, or one row for a signed permutation."""
    scaled = matrix / np.abs(matrix).max()
    images = np.abs(scaled).argmax(axis=0)
    values = scaled[images, np.arange(len(scaled))]
    if np.abs(np.abs(scaled).sum(axis=0) - 1).max() < 1e-12 and np.abs(np.abs(values) - 1).max() < 1e-12:
        return " ".join(str(int(np.sign(v)) * (int(i) + 1)) for i, v in zip(images, values, strict=True))
    for scale in sorted({*np.abs(matrix[np.abs(matrix) > 1e-9]).tolist()}):
        rows = [[Fraction(v / scale).limit_denominator(24) for v in row] for row in matrix.tolist()]
        if np.abs(np.array(rows, dtype=float) - matrix / scale).max() < 1e-9:
            return ",".join(" ".join(map(str, row)) for row in rows)
    return ",".join(" ".join(repr(v) for v in row) for row in matrix.tolist())


def _matrix(text: str) -> Array:
    try:
        rows = [[float(Fraction(entry)) for entry in row.split()] for row in text.split(",")]
        if len(rows) > 1:
            return np.array(rows)
        (images,) = rows
        out = np.zeros((len(images), len(images)))
        for column, image in enumerate(images):
            if image != int(image) or not 1 <= abs(image) <= len(images):
                raise ValueError(image)
            out[int(abs(image)) - 1, column] = np.sign(image)
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidInput(
            "symmetry",
            expected='a matrix such as "0 1,-1 1", or a signed permutation such as "2 -1"',
            got=repr(text),
        ) from error
    return out
