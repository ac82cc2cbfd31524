"""The named families of groups, one table: symbol, construction, order, members shown, help and aliases.

The parser (`names`) and the recognition of groups (`recognition`) read it; a new family is a new record. What
does not belong here: operators between groups (products, powers, semidirect products), which `names` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import factorial, isqrt

from sympy import isprime

from stl_algebra.groups import constructions, matrix_groups, semidirect
from stl_algebra.groups.fields import is_field_order
from stl_algebra.groups.group import FiniteGroup


def _always(*parameters: int) -> bool:
    return True


def _none(*parameters: int) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Family:
    """A family of groups whose members are named by one or two positive integers.

    Attributes:
        symbol: with which its names begin: "C" in C8, "SL" in SL(2,3).
        build: the member with these parameters, which it checks; its name is `spelling(*parameters)`.
        order: the member's order, a formula: at least n where n is the only parameter, at least 2^d and
            q (q - 1) where d, q are the degree and the order of the field.
        help: what the members are, after their examples in the grammar.
        examples: spellings that the grammar and error messages show.
        exists: whether the parameters make a member that recognition should name.
        least: first parameter from which on members may be non-abelian; None when all are abelian.
        listed: parameters of the members of order up to 60 that the list of names shows.
        aliases: other people's symbols; one that ends with "(" has its parameter in parentheses.
        parameters: how many.
        parentheses: whether a single parameter stands in parentheses; two always do.
        other_names: further names of the member with these parameters.
    """

    symbol: str
    build: Callable[..., FiniteGroup]
    order: Callable[..., int]
    help: str
    examples: tuple[str, ...]
    exists: Callable[..., bool] = _always
    least: int | None = 1
    listed: tuple[tuple[int, ...], ...] = ()
    aliases: tuple[str, ...] = ()
    parameters: int = 1
    parentheses: bool = False
    other_names: Callable[..., tuple[str, ...]] = _none

    def spelling(self, *parameters: int) -> str:
        """The name of a member: "C8", "He(3)", "SL(2,3)"."""
        shown = ",".join(map(str, parameters))
        return f"{self.symbol}({shown})" if self.parentheses or self.parameters > 1 else self.symbol + shown

    def of_order(self, order: int) -> Iterator[tuple[int, ...]]:
        """Parameters of the members of this order from `least` on that exist."""
        if self.least is None:
            return
        # Both bounds follow from what `order` promises.
        grid: Iterable[tuple[int, ...]] = (
            product(range(self.least, order + 1))
            if self.parameters == 1
            else product(range(self.least, order.bit_length()), range(2, isqrt(order) + 2))
        )
        yield from (p for p in grid if self.order(*p) == order and self.exists(*p))


def _over_field(degree: int, q: int) -> bool:
    return is_field_order(q)


def _ones(*numbers: int) -> tuple[tuple[int, ...], ...]:
    return tuple((n,) for n in numbers)


#: The most usual names of a group first: recognition keeps this order.
FAMILIES: tuple[Family, ...] = (
    Family(
        "C", constructions.cyclic, lambda n: n, "cyclic group of order 8", ("C8",),
        least=None, listed=_ones(*range(1, 33), 48, 60), aliases=("Z", "Cyc(", "CyclicGroup("),
    ),
    Family(
        "S", constructions.symmetric, lambda n: factorial(min(n, 20)), "symmetric group on 4 points", ("S4",),
        least=3, listed=_ones(3, 4), aliases=("Sym(", "SymmetricGroup("),
    ),
    Family(
        "A", constructions.alternating, lambda n: max(1, factorial(min(n, 20)) // 2),
        "alternating group on 4 points", ("A4",), least=4, listed=_ones(4, 5),
        aliases=("Alt(", "AlternatingGroup("),
    ),
    Family(
        "Q", constructions.quaternion, lambda n: n, "generalised quaternion groups of order 8, 16, 32, ...",
        ("Q8", "Q16"), exists=lambda n: n & (n - 1) == 0, least=8, listed=_ones(8, 16, 32),
        aliases=("QuaternionGroup(",),
    ),
    Family(
        "D", constructions.dihedral, lambda n: 2 * n, "dihedral group of order 8 (symmetries of the square)",
        ("D4",), least=3, listed=_ones(*range(3, 17), 24, 30),
    ),
    Family(
        "Dic", constructions.dicyclic, lambda n: 4 * n, "dicyclic group of order 12", ("Dic3",),
        least=2, listed=_ones(*range(2, 9), 15),
    ),
    Family(
        "PSL", matrix_groups.projective_special_linear, matrix_groups.order_of_psl,
        "projective special linear group over the field with 7 elements; any prime power", ("PSL(2,7)",),
        exists=_over_field, least=2, listed=((2, 3), (2, 4), (2, 5)), parameters=2,
    ),
    Family(
        "SL", matrix_groups.special_linear, matrix_groups.order_of_sl,
        "special linear group: matrices of determinant 1", ("SL(2,3)",),
        exists=_over_field, least=2, listed=((2, 2), (2, 3), (2, 4)), parameters=2,
    ),
    Family(
        "GL", matrix_groups.general_linear, matrix_groups.order_of_gl,
        "general linear group: invertible matrices", ("GL(2,3)",),
        exists=_over_field, least=2, listed=((2, 3),), parameters=2,
    ),
    Family(
        "PGL", matrix_groups.projective_general_linear, matrix_groups.order_of_sl,
        "projective general linear group", ("PGL(2,7)",),
        exists=_over_field, least=2, listed=((2, 3),), parameters=2,
    ),
    Family(
        "He", constructions.heisenberg, lambda p: p**3, "Heisenberg group over F_3, order 27", ("He(3)",),
        exists=isprime, least=2, listed=_ones(2, 3), parentheses=True,
    ),
    Family(
        "F", semidirect.frobenius, lambda n: n,
        "Frobenius group C5:C4 with a faithful action of a subgroup of F_5^*; F21 = C7:C3", ("F20",),
        exists=lambda n: semidirect.frobenius_parameters(n) is not None, least=6,
        listed=_ones(20, 21, 42, 55, 39),
        other_names=lambda n: ("C{}:C{}".format(*(semidirect.frobenius_parameters(n) or ())),),
    ),
    Family(
        "AGL", matrix_groups.affine, matrix_groups.order_of_agl,
        "affine maps x -> g x + h of the field with 8 elements, order 8 * 7, or of the plane over F_3",
        ("AGL(1,8)", "AGL(2,3)"), exists=_over_field, least=1,
        listed=((1, 4), (1, 5), (1, 7), (1, 8)), parameters=2,
    ),
    Family(
        "ASL", matrix_groups.affine_special, matrix_groups.order_of_asl,
        "affine maps x -> g x + h with g of determinant 1, order 9 * 24", ("ASL(2,3)",),
        exists=_over_field, least=2, parameters=2,
    ),
    Family(
        "SD", semidirect.semidihedral, lambda n: n, "semidihedral groups C8:C2(3), C16:C2(7), ... by order",
        ("SD16", "SD32"), exists=lambda n: n & (n - 1) == 0, least=16, listed=_ones(16, 32), aliases=("QD",),
    ),
    Family(
        "M", semidirect.modular, lambda n: n, "modular groups C8:C2(5), C9:C3(4), ... by order p^n",
        ("M16", "M27"), exists=lambda n: semidirect.modular_parameters(n) is not None, least=16,
        listed=_ones(16, 27, 32),
    ),
)  # fmt: skip

#: Groups of order up to 60 that are in no family: with the families, every group of order below 32 is listed.
OTHERS: tuple[str, ...] = (
    *("C2^2", "C2^3", "C2^4", "C2^5", "C3^2", "C3^3", "C4^2", "C5^2", "C6^2", "C7^2", "C4xC2"),
    *("C4xC2^2", "C8xC2", "C6xC2", "C3xC3xC2", "C4xC4xC2", "C4xC4xC3", "C7:C3", "C8:C2(3)", "C8:C2(5)"),
    *("S3xC2", "S3xC3", "S3xS3", "S3xC2^2", "S3xC2^3", "D4xC2", "Q8xC2", "Q8xC3", "A4xC2", "A4xC4"),
    *("C4:C4(3)", "(C4xC2):C2(a->ab)", "(C4xC2):C2(b->a^2b)", "C3^2:C2(a->a^-1,b->b^-1)", "C3:D4(a->a^-1;)"),
    *("C3:C8(2)", "C9:C3(4)", "C10xC2", "C12xC2", "C14xC2", "C6xC2^2", "C9xC3", "D4xC3", "S3xC4", "S3xC5"),
    *("Dic3xC2", "D4xC2^2", "S4xC2", "D5xC3", "Dic3xC4", "Q8xC2^2", "SL(2,3)xC2", "S3xQ8", "A4xC5"),
)
