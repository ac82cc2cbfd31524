"""Names of groups: the grammar that the command line and every file use, and its parser.

`parse_group(group.name)` gives the group back. What does not belong here: how the tables are computed
(`constructions`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from sympy import factorint

from stl_algebra.errors import InvalidInput
from stl_algebra.groups import constructions as make
from stl_algebra.groups.group import FiniteGroup

GRAMMAR = """\
C8                      cyclic group of order 8
D4                      dihedral group of order 8 (symmetries of the square)
Dic3, Q8, Q16           dicyclic group of order 12; generalised quaternion groups of order 8, 16
S4, A4                  symmetric and alternating groups
He(3)                   Heisenberg group over F_3, order 27
SL(2,3) GL(2,3) PSL(2,7)  matrix groups over a prime field
F20                     Frobenius group of order p(p-1): the affine group of F_5; F21 = C7:C3
C7:C3, C8:C2(3)         semidirect product of cyclic groups, faithful or with x -> x^3
C2^5, S3xC2, (S3xC2)^2  direct powers and products
perm:(1 2 3)(4 5),(1 2) permutations that generate the group, as cycles
table:FILE.npy          Cayley table, table[i, j] = k where g_i g_j = g_k (.npy, .csv or .txt)"""

#: The grammar in one line, for error messages.
SPELLINGS = (
    "C8, C2^4, D4, Dic3, Q8, S4, A4, He(3), SL(2,3), GL(2,3), PSL(2,7), F20, C7:C3, C8:C2(3), "
    "products S3xC2, powers (S3xC2)^2, perm:(1 2 3),(1 2) or table:FILE.npy"
)


def _atoms() -> Iterator[tuple[str, Callable[..., FiniteGroup]]]:
    yield r"C(\d+):C(\d+)(?:\((\d+)\))?", _semidirect
    yield r"C(\d+)", lambda n: make.cyclic(_positive(n))
    yield r"D(\d+)", lambda n: make.dihedral(_positive(n))
    yield r"Dic(\d+)", lambda n: make.dicyclic(_positive(n))
    yield r"Q(\d+)", _quaternion
    yield r"S(\d+)", lambda n: make.symmetric(_positive(n))
    yield r"A(\d+)", lambda n: make.alternating(_positive(n))
    yield r"He\((\d+)\)", lambda p: make.heisenberg(int(p))
    yield r"(SL|GL|PSL)\((\d+),(\d+)\)", lambda kind, d, p: make.matrix_group(kind, int(d), int(p))
    yield r"F(\d+)", _frobenius


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise InvalidInput("group", expected="a size of at least 1", got=text)
    return value


def _quaternion(order: str) -> FiniteGroup:
    n = int(order)
    if n < 8 or n & (n - 1):
        raise InvalidInput(
            f"group Q{order}", expected="an order 8, 16, 32, ... for a generalised quaternion group", got=n
        )
    return make.dicyclic(n // 4, f"Q{n}")


def _semidirect(n: str, h: str, multiplier: str | None) -> FiniteGroup:
    return make.semidirect_cyclic(_positive(n), _positive(h), None if multiplier is None else int(multiplier))


def _frobenius(order: str) -> FiniteGroup:
    """C_p : C_q with q > 1 dividing p - 1 and a faithful action; p the largest prime that fits."""
    total = int(order)
    for p in sorted(factorint(total), reverse=True) if total > 1 else ():
        q = total // p
        if q > 1 and (p - 1) % q == 0:
            group = make.semidirect_cyclic(p, q)
            return FiniteGroup(group.table, f"F{total}", check=False)
    raise InvalidInput(
        f"group F{order}", expected="an order p q with p prime and q > 1 dividing p - 1", got=total
    )


_COMPILED = [(re.compile(pattern), build) for pattern, build in _atoms()]


@lru_cache(maxsize=256)
def parse_group(text: str) -> FiniteGroup:
    """The group with that name; see `GRAMMAR` for the spellings. White space does not count.

    Raises:
        InvalidInput: the name is not in the grammar (lists it), or its parameters make no group.
        TooLarge: the order is above the limit.
    """
    if text.strip().startswith("perm:"):
        return _parse_permutations(text.strip())
    if text.strip().startswith("table:"):
        return _load_table(text.strip())
    compact = re.sub(r"\s+", "", text)
    if not compact:
        raise _unknown(text)
    factors = [_parse_power(part, text) for part in _split_product(compact, text)]
    return factors[0] if len(factors) == 1 else make.direct_product(factors, compact)


def _unknown(text: str) -> InvalidInput:
    return InvalidInput("group", expected=f"a name such as {SPELLINGS}", got=repr(text))


def _split_product(text: str, whole: str) -> list[str]:
    """Split at "x" outside of parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise _unknown(whole)
        if depth == 0 and character in "x×":
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    if depth or not all(parts):
        raise _unknown(whole)
    return parts


def _parse_power(text: str, whole: str) -> FiniteGroup:
    match = re.fullmatch(r"(.+?)\^(\d+)", text)
    base_text, exponent = (match[1], int(match[2])) if match else (text, 1)
    if base_text.startswith("(") and base_text.endswith(")"):
        base = parse_group(base_text[1:-1])
    else:
        base = _parse_atom(base_text, whole)
    if exponent == 1:
        return base
    if exponent < 1:
        raise InvalidInput("group", expected="a positive power", got=text)
    # The exponent is clipped so that nobody waits for the digits of an absurd order.
    make.check_order(base.order ** min(exponent, 64), text)
    return make.direct_product([base] * exponent, text)


def _parse_atom(text: str, whole: str) -> FiniteGroup:
    for pattern, build in _COMPILED:
        match = pattern.fullmatch(text)
        if match:
            if any(g is not None and g.isdigit() and len(g) > 6 for g in match.groups()):
                raise InvalidInput("group", expected="a size of at most six digits", got=text)
            return build(*match.groups())
    raise _unknown(whole)


def _parse_permutations(text: str) -> FiniteGroup:
    """perm:(1 2 3)(4 5),(1 2): points are positive integers, cycles compose right to left."""
    body = text[len("perm:") :].strip()
    generators: list[list[list[int]]] = []
    if body.count("(") != body.count(")") or not body.startswith("("):
        raise InvalidInput("group", expected="cycles such as perm:(1 2 3)(4 5),(1 2)", got=repr(text))
    for part in re.split(r"\)\s*,\s*\(", body):
        wrapped = "(" + part.strip().removeprefix("(").removesuffix(")") + ")"
        if not re.fullmatch(r"(\(\s*\d*(?:[\s,]+\d+)*\s*\)\s*)+", wrapped):
            raise InvalidInput("group", expected="cycles such as perm:(1 2 3)(4 5),(1 2)", got=repr(text))
        cycles = [[int(x) for x in re.findall(r"\d+", c)] for c in re.findall(r"\(([^)]*)\)", wrapped)]
        points = [x for cycle in cycles for x in cycle]
        for x in points:
            if points.count(x) > 1:
                raise InvalidInput(
                    "group",
                    expected="every point once in a permutation",
                    got=f"point {x} repeated in {part!r}",
                )
            if x < 1:
                raise InvalidInput("group", expected="points numbered from 1", got=f"point {x}")
            if x > 1000:
                raise InvalidInput("group", expected="points up to 1000", got=f"point {x}")
        generators.append(cycles)
    degree = max((x for cycles in generators for c in cycles for x in c), default=1)
    one_line = []
    for cycles in generators:
        permutation = list(range(degree))
        for cycle in cycles:
            for a, b in zip(cycle, cycle[1:] + cycle[:1], strict=True):
                permutation[a - 1] = b - 1
        one_line.append(permutation)
    spelling = "perm:" + ",".join(
        "".join("(" + " ".join(map(str, c)) + ")" for c in cycles) for cycles in generators
    )
    return make.from_permutations(one_line, spelling)


def _load_table(text: str) -> FiniteGroup:
    path = Path(text[len("table:") :])
    if not path.is_file():
        raise InvalidInput("group", expected="an existing Cayley table file", got=str(path))
    try:
        if path.suffix == ".npy":
            table = np.load(path, allow_pickle=False)
        else:
            content = path.read_text(encoding="utf-8").replace(",", " ")
            table = np.array(
                [[int(x) for x in line.split()] for line in content.splitlines() if line.strip()]
            )
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(f"group {text}", expected="a table of integers", got=str(error)) from error
    return FiniteGroup(table, text)


#: Groups that `stl-search groups` lists: every spelling in it has order at most 60.
NAME_TABLE: tuple[str, ...] = (
    *(f"C{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 18, 20, 24, 30, 32, 48, 60)),
    *("C2^2", "C2^3", "C2^4", "C2^5", "C3^2", "C3^3", "C4^2", "C5^2", "C6^2", "C7^2", "C4xC2"),
    *("C4xC2^2", "C8xC2", "C6xC2", "C3xC3xC2", "C4xC4xC2", "C4xC4xC3"),
    *(f"D{n}" for n in (3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 24, 30)),
    *(f"Dic{n}" for n in (2, 3, 4, 5, 6, 7, 8, 15)),
    *("Q8", "Q16", "Q32", "S3", "S4", "A4", "A5", "He(2)", "He(3)", "SL(2,2)", "SL(2,3)", "GL(2,3)"),
    *("PSL(2,3)", "PSL(2,5)", "F20", "F21", "F42", "F55", "F39", "C7:C3", "C8:C2(3)", "C8:C2(5)"),
    *("S3xC2", "S3xC3", "S3xS3", "S3xC2^2", "S3xC2^3", "D4xC2", "Q8xC2", "Q8xC3", "A4xC2", "A4xC4"),
    *("D4xC2^2", "S4xC2", "D5xC3", "Dic3xC4", "Q8xC2^2", "SL(2,3)xC2", "S3xQ8", "A4xC5"),
)
