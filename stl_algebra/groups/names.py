"""Names of groups: the grammar that the command line and every file use, and its parser.

`parse_group(group.name)` gives the group back. What does not belong here: how the tables are computed
(`constructions`, `semidirect`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from sympy import factorint

from stl_algebra.errors import InvalidInput, StlError
from stl_algebra.groups import constructions as make
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.semidirect import automorphism, semidirect_cyclic, semidirect_product
from stl_algebra.groups.words import letters

GRAMMAR = """\
C8                        cyclic group of order 8
D4                        dihedral group of order 8 (symmetries of the square)
Dic3, Q8, Q16             dicyclic group of order 12; generalised quaternion groups of order 8, 16
S4, A4                    symmetric and alternating groups
He(3)                     Heisenberg group over F_3, order 27
SL(2,3) GL(2,3) PSL(2,7)  matrix groups over a prime field
AGL(1,8)                  affine maps x -> g x + h of the field with 8 elements, order 8 * 7; any prime power
F20                       Frobenius group C5:C4 with a faithful action of a subgroup of F_5^*; F21 = C7:C3
C7:C3, C8:C2(3)           semidirect product of cyclic groups, faithful or with x -> x^3
C2^2:C3(a->b,b->ab)       semidirect product N:H by an action: where the generator of H takes the generators
                          a, b, ... of N; generators left out stay; one list per generator of H, between ";"
C2^5, S3xC2, (S3xC2)^2    direct powers and products; ^ binds before : and : before x
perm:(1 2 3)(4 5),(1 2)   permutations that generate the group, as cycles
table:FILE.npy            Cayley table, table[i, j] = k where g_i g_j = g_k (.npy, .csv or .txt)
`stl-search group NAME` shows the generators a, b, ... of a group and their orders."""

#: The grammar in one line, for error messages.
SPELLINGS = (
    "C8, C2^4, D4, Dic3, Q8, S4, A4, He(3), SL(2,3), GL(2,3), PSL(2,7), AGL(1,8), F20, C7:C3, C8:C2(3), "
    "C2^2:C3(a->b,b->ab), products S3xC2, powers (S3xC2)^2, perm:(1 2 3),(1 2) or table:FILE.npy"
)


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


def _frobenius(order: str) -> FiniteGroup:
    """C_p : C_q with q > 1 dividing p - 1 and a faithful action; p the largest prime that fits."""
    total = int(order)
    make.check_order(total, f"F{order}")
    for p in sorted(factorint(total), reverse=True) if total > 1 else ():
        q = total // p
        if q > 1 and (p - 1) % q == 0:
            return semidirect_cyclic(p, q, name=f"F{total}")
    raise InvalidInput(
        f"group F{order}", expected="an order p q with p prime and q > 1 dividing p - 1", got=total
    )


def _affine(degree: str, q: str) -> FiniteGroup:
    if int(degree) != 1:
        raise InvalidInput(f"group AGL({degree},{q})", expected="degree 1", got=degree)
    return make.affine(_positive(q))


_ATOMS: list[tuple[re.Pattern[str], Callable[..., FiniteGroup]]] = [
    (re.compile(pattern), build)
    for pattern, build in (
        (r"Dic(\d+)", lambda n: make.dicyclic(_positive(n))),
        (r"C(\d+)", lambda n: make.cyclic(_positive(n))),
        (r"D(\d+)", lambda n: make.dihedral(_positive(n))),
        (r"Q(\d+)", _quaternion),
        (r"S(\d+)", lambda n: make.symmetric(_positive(n))),
        (r"A(\d+)", lambda n: make.alternating(_positive(n))),
        (r"He\((\d+)\)", lambda p: make.heisenberg(int(p))),
        (r"(SL|GL|PSL)\((\d+),(\d+)\)", lambda kind, d, p: make.matrix_group(kind, int(d), int(p))),
        (r"AGL\((\d+),(\d+)\)", _affine),
        (r"F(\d+)", _frobenius),
    )
]


@lru_cache(maxsize=256)
def _parse_cached(text: str) -> FiniteGroup:
    return _Parser(text).whole()


def parse_group(text: str) -> FiniteGroup:
    """The group with that name; see `GRAMMAR` for the spellings. White space does not count.

    The result's name is the canonical spelling: no white space, no needless parentheses.

    Raises:
        InvalidInput: the name is not in the grammar (lists it), or its parameters make no group.
        TooLarge: the order is above the limit.
    """
    # A file may change between two readings, a name does not.
    return _Parser(text).whole() if "table:" in text else _parse_cached(text)


def _unknown(text: str) -> InvalidInput:
    near = suggestion(text)
    return InvalidInput(
        "group",
        expected=f"a name such as {SPELLINGS}",
        got=repr(text),
        hint=f"did you mean {near}?" if near else "",
    )


#: Other people's letters for the same groups, by their lower case.
_FAMILIES = {
    **{name.lower(): name for name in ("C", "D", "Dic", "Q", "S", "A", "He", "SL", "GL", "PSL", "AGL", "F")},
    "z": "C",
    "cyc": "C",
    "dih": "D",
    "sym": "S",
    "alt": "A",
}


def suggestion(text: str) -> str:
    """A valid name that someone who typed `text` may have meant, "" when none is near."""
    pattern = "|".join(sorted((re.escape(k) for k in _FAMILIES), key=len, reverse=True))
    respelled = re.sub(
        rf"(?i)({pattern})(?=_?\(?_?\d)", lambda m: _FAMILIES[m[1].lower()], re.sub(r"\s+|_", "", text)
    )
    respelled = re.sub(r"[X*]", "x", respelled)
    for attempt in (respelled, re.sub(r"\b(C|D|Dic|Q|S|A|F)\((\d+)\)", r"\1\2", respelled)):
        if attempt != text and len(attempt) < 80 and "table:" not in attempt:
            try:
                return _Parser(attempt, suggest=False).whole().name
            except StlError:
                continue
    near = difflib.get_close_matches(text, NAME_TABLE, n=1, cutoff=0.75)
    return near[0] if near else ""


#: How tightly a spelling holds together: what stands in parentheses inside what.
_PRODUCT, _SEMIDIRECT, _POWER, _ATOM = range(4)


#: Parentheses within each other, far below the depth of Python's recursion.
_DEEPEST = 50


class _Parser:
    """Recursive descent; every method returns the group under its canonical name and how tightly it holds.

    product: semidirect ("x" semidirect)*, semidirect: power (":" power action?)*,
    power: atom ("^" number)?, atom: a family with its parameters, perm:, table:, or "(" product ")".
    """

    def __init__(self, text: str, *, suggest: bool = True) -> None:
        self.given, self.suggest = text, suggest
        # Within cycles and file names white space counts; everywhere else it does not.
        self.text = text.strip() if "perm:" in text or "table:" in text else re.sub(r"\s+", "", text)
        self.at = self.depth = 0

    def whole(self) -> FiniteGroup:
        """The group that the whole text names."""
        if self.text.startswith("table:"):
            return _load_table(self.text)
        group, _ = self.product()
        if self.at < len(self.text):
            raise self.unknown()
        return group

    def unknown(self) -> InvalidInput:
        """The error for a text outside of the grammar."""
        if self.suggest:
            return _unknown(self.given)
        return InvalidInput("group", expected="a name", got=repr(self.given))

    def take(self, pattern: str | re.Pattern[str]) -> re.Match[str] | None:
        """The match of a pattern here, after white space, which is passed over."""
        space = re.compile(r"\s*").match(self.text, self.at)
        assert space is not None
        match = re.compile(pattern).match(self.text, space.end())
        if match:
            self.at = match.end()
        return match

    def product(self) -> tuple[FiniteGroup, int]:
        """semidirect ("x" semidirect)*"""
        factors = [self.semidirect()]
        while self.take("[x×]"):
            factors.append(self.semidirect())
        if len(factors) == 1:
            return factors[0]
        name = "x".join(_wrapped(f, _SEMIDIRECT) for f in factors)
        return make.direct_product([group for group, _ in factors], name), _PRODUCT

    def semidirect(self) -> tuple[FiniteGroup, int]:
        """power (":" power action?)*"""
        left = self.power()
        while self.take(":"):
            right = self.power()
            # (A:B):C is written A:B:C; a right side that is not a power or an atom has parentheses.
            name = f"{_wrapped(left, _SEMIDIRECT)}:{_wrapped(right, _POWER)}"
            action = self.take(r"\(([^()]*)\)")
            left = _semidirect(left[0], right[0], name, action[1] if action else None), _SEMIDIRECT
        return left

    def power(self) -> tuple[FiniteGroup, int]:
        """atom ("^" number)?"""
        base = self.atom()
        match = self.take(r"\^\s*(\d+)")
        exponent = _positive(match[1][:7]) if match else 1
        if exponent == 1:
            return base
        name = f"{_wrapped(base, _ATOM)}^{exponent}"
        # The exponent is clipped so that nobody waits for the digits of an absurd order.
        make.check_order(base[0].order ** min(exponent, 64), name)
        if base[0].order == 1:
            return base
        return make.direct_product([base[0]] * exponent, name), _POWER

    def atom(self) -> tuple[FiniteGroup, int]:
        """A family with its parameters, permutations, a table, or anything in parentheses."""
        if self.take(r"\("):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise InvalidInput("group", expected=f"at most {_DEEPEST} parentheses open", got="more")
            inner = self.product()
            self.depth -= 1
            if not self.take(r"\)"):
                raise self.unknown()
            return inner
        if self.take("perm:"):
            # What ends with a cycle would swallow a "," or "(" that follows: it counts as a product.
            return self.permutations(), _PRODUCT
        table = self.take(r"table:[^()]*")
        if table:
            return _load_table(table[0].strip()), _PRODUCT
        for pattern, build in _ATOMS:
            match = self.take(pattern)
            if match:
                if any(g.isdigit() and len(g) > 6 for g in match.groups()):
                    raise InvalidInput("group", expected="a size of at most six digits", got=match[0])
                return build(*match.groups()), _ATOM
        raise self.unknown()

    def permutations(self) -> FiniteGroup:
        """perm:(1 2 3)(4 5),(1 2): points are positive integers, cycles compose right to left."""
        generators: list[list[list[int]]] = []
        while True:
            cycles: list[list[int]] = []
            while cycle := self.take(r"\(\s*((?:\d+(?:\s*[\s,]\s*\d+)*)?)\s*\)"):
                cycles.append([int(x[:7]) for x in re.findall(r"\d+", cycle[1])])
            if not cycles:
                raise InvalidInput(
                    "group", expected="cycles such as perm:(1 2 3)(4 5),(1 2)", got=repr(self.given)
                )
            generators.append(cycles)
            if not self.take(","):
                break
        return _permutation_group(generators)


def _wrapped(parsed: tuple[FiniteGroup, int], at_least: int) -> str:
    """The name, in parentheses unless it holds together at least that tightly."""
    group, tightness = parsed
    return group.name if tightness >= at_least else f"({group.name})"


def _semidirect(normal: FiniteGroup, acting: FiniteGroup, name: str, action: str | None) -> FiniteGroup:
    """N:H with its action as text: a multiplier, lists of images, or None for the faithful cyclic one."""
    both_cyclic = all(len(g.generators) <= 1 for g in (normal, acting))
    if both_cyclic and (action is None or action.isdigit()):
        multiplier = None if action is None else int(action[:7])
        full = name if action is None else f"{name}({multiplier})"
        return semidirect_cyclic(normal.order, acting.order, multiplier, full)
    if action is None:
        raise InvalidInput(
            f"semidirect product {name}",
            expected=f"an action in parentheses: the images of {', '.join(letters(normal))} of {normal.name}",
            got="none",
            hint=f"for instance {name}({letters(normal)[0]}->{letters(normal)[0]}^-1), or put parentheses "
            "around what belongs together",
        )
    parts = re.sub(r"\s+", "", action).split(";")
    full = f"{name}({';'.join(parts)})"
    maps = [_images(part, full) for part in parts]
    try:
        actions = [automorphism(normal, images) for images in maps]
    except InvalidInput as error:
        raise InvalidInput(f"semidirect product {full}", expected=error.expected, got=error.got) from error
    return semidirect_product(normal, acting, actions, full)


def _images(text: str, name: str) -> dict[str, str]:
    """{"a": "b", "b": "ab"} from "a->b,b->ab"; nothing from ""."""
    images: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        letter, arrow, word = part.partition("->")
        if not arrow or not re.fullmatch("[a-z]", letter) or not word or letter in images:
            raise InvalidInput(
                f"semidirect product {name}",
                expected="an action such as a->b,b->ab with every generator at most once",
                got=repr(part),
            )
        images[letter] = word
    return images


def _permutation_group(generators: Sequence[Sequence[Sequence[int]]]) -> FiniteGroup:
    """The group that permutations, as lists of cycles of points from 1, generate."""
    for cycles in generators:
        points = [x for cycle in cycles for x in cycle]
        shown = "".join("(" + " ".join(map(str, c)) + ")" for c in cycles)
        for x in points:
            if points.count(x) > 1:
                raise InvalidInput(
                    "group",
                    expected="every point once in a permutation",
                    got=f"point {x} repeated in {shown}",
                )
            if not 1 <= x <= 1000:
                raise InvalidInput("group", expected="points numbered from 1 to 1000", got=f"point {x}")
    degree = max((x for cycles in generators for c in cycles for x in c), default=1)
    one_line = []
    for cycles in generators:
        permutation = list(range(degree))
        for cycle in cycles:
            for a, b in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True):
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
            rows = [[int(x) for x in line.split()] for line in content.splitlines() if line.strip()]
            table = np.array(rows)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(f"group {text}", expected="a square table of integers", got=str(error)) from error
    if not isinstance(table, np.ndarray):
        raise InvalidInput(f"group {text}", expected="a square table of integers", got="several arrays")
    make.check_order(len(table) if table.ndim else 0, text)
    return FiniteGroup(table, text)


#: Groups that `stl-search groups` lists: of order at most 60, and all of order below 32.
NAME_TABLE: tuple[str, ...] = (
    *(f"C{n}" for n in (*range(1, 33), 48, 60)),
    *("C2^2", "C2^3", "C2^4", "C2^5", "C3^2", "C3^3", "C4^2", "C5^2", "C6^2", "C7^2", "C4xC2"),
    *("C4xC2^2", "C8xC2", "C6xC2", "C3xC3xC2", "C4xC4xC2", "C4xC4xC3"),
    *(f"D{n}" for n in (*range(3, 17), 24, 30)),
    *(f"Dic{n}" for n in (2, 3, 4, 5, 6, 7, 8, 15)),
    *("Q8", "Q16", "Q32", "S3", "S4", "A4", "A5", "He(2)", "He(3)", "SL(2,2)", "SL(2,3)", "GL(2,3)"),
    *(
        "AGL(1,4)",
        "AGL(1,5)",
        "AGL(1,7)",
        "AGL(1,8)",
        "PSL(2,3)",
        "PSL(2,5)",
        "F20",
        "F21",
        "F42",
        "F55",
        "F39",
        "C7:C3",
        "C8:C2(3)",
        "C8:C2(5)",
    ),
    *("S3xC2", "S3xC3", "S3xS3", "S3xC2^2", "S3xC2^3", "D4xC2", "Q8xC2", "Q8xC3", "A4xC2", "A4xC4"),
    *("C4:C4(3)", "(C4xC2):C2(a->ab)", "(C4xC2):C2(b->a^2b)", "C3^2:C2(a->a^-1,b->b^-1)", "C3:D4(a->a^-1;)"),
    *("C3:C8(2)", "C9:C3(4)", "C10xC2", "C12xC2", "C14xC2", "C6xC2^2", "C9xC3", "D4xC3", "S3xC4", "S3xC5"),
    *("Dic3xC2", "D4xC2^2", "S4xC2", "D5xC3", "Dic3xC4", "Q8xC2^2", "SL(2,3)xC2", "S3xQ8", "A4xC5"),
)
