"""Finite fields by their tables: elements are the numbers 0 .. q-1, 0 and 1 the neutral ones.

The digits of a number to the base p are the coefficients of a polynomial in a primitive element X: the
elements of a prime field are the integers modulo p.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sympy import factorint

from stl_algebra.errors import InvalidInput
from stl_algebra.groups.group import IntArray


@dataclass(frozen=True, eq=False)
class FiniteField:
    """The field with q = p^degree elements.

    Attributes:
        order, characteristic, degree: q, p and the degree over the prime field.
        sums, products: (q, q) tables.
        powers: (q - 1,) powers of the primitive element, 1 first.
    """

    order: int
    characteristic: int
    degree: int
    sums: IntArray
    products: IntArray
    powers: IntArray

    @property
    def primitive(self) -> int:
        """The element whose powers are all elements but 0; 1 where q = 2."""
        return int(self.powers[1 % len(self.powers)])


def is_field_order(q: int) -> bool:
    """q is a power of a prime."""
    return len(factorint(q)) == 1


@lru_cache(maxsize=32)
def finite_field(q: int, name: str = "field") -> FiniteField:
    """The field with q elements, by the first primitive polynomial in lexicographic order.

    Args:
        q: number of elements.
        name: of what needs the field, for the message.

    Raises:
        InvalidInput: q is no power of a prime.
    """
    if not is_field_order(q):
        raise InvalidInput(name, expected="a power of a prime as the number of elements of a field", got=q)
    ((p, degree),) = ((int(p), int(e)) for p, e in factorint(q).items())
    digits = np.arange(q)[:, None] // p ** np.arange(degree) % p
    weights = p ** np.arange(degree)
    for leading in itertools.product(range(p), repeat=degree):
        # X times a polynomial, where X^degree = leading[0] + leading[1] X + ...
        shifted = np.hstack([np.zeros((q, 1), dtype=np.int64), digits[:, :-1]])
        times_x = (shifted + digits[:, -1:] * np.array(leading)) % p @ weights
        powers = [1]
        while len(powers) < q and (power := int(times_x[powers[-1]])) not in (0, 1):
            powers.append(power)
        if len(powers) == q - 1 and times_x[powers[-1]] == 1:
            break
    exponents = np.zeros(q, dtype=np.int64)
    exponents[powers] = np.arange(q - 1)
    products = np.array(powers)[(exponents[:, None] + exponents) % (q - 1)]
    products[0] = products[:, 0] = 0
    sums: IntArray = (digits[:, None] + digits) % p @ weights
    tables = (sums, products, np.array(powers))
    for table in tables:
        table.setflags(write=False)
    return FiniteField(q, p, degree, *tables)
