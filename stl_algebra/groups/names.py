"""Names of groups: the parser of the grammar that the command line and every file use.

`parse_group(group.name)` gives the group back; `as_group` and `cached_by_group` are for functions that take a
group or its name. What does not belong here: how the tables are computed (`constructions`, `matrix_groups`,
`semidirect`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Protocol, TypeVar, cast

from stl_algebra.errors import InvalidInput, StlError
from stl_algebra.groups import constructions as make
from stl_algebra.groups.families import FAMILIES, Family
from stl_algebra.groups.foreign import FOREIGN, structure
from stl_algebra.groups.grammar import SPELLINGS
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.hints import nearest_line, respellings
from stl_algebra.groups.semidirect import semidirect_by_text
from stl_algebra.groups.wreath import wreath_product

Result = TypeVar("Result", covariant=True)


def _pattern(family: Family) -> re.Pattern[str]:
    """The family's symbol or an alias, and its parameters as groups; those of the form not taken are None."""
    bare = family.parameters == 1 and not family.parentheses
    numbers = r"\s*,\s*".join([r"(\d+)"] * family.parameters)
    direct = [name for name in (family.symbol, *family.aliases) if not name.endswith("(")]
    called = [re.escape(name) for name in family.aliases if name.endswith("(")]
    forms = [f"(?:{'|'.join(direct)})" + (f"_?{numbers}" if bare else rf"\(\s*{numbers}\s*\)")]
    forms += [rf"(?:{'|'.join(called)})\s*{numbers}\s*\)"] if called else []
    return re.compile("|".join(forms))


_ATOMS = [(_pattern(family), family) for family in FAMILIES]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise InvalidInput("group", expected="a size of at least 1", got=text)
    return value


@lru_cache(maxsize=256)
def _parse_cached(text: str) -> FiniteGroup:
    return _Parser(text).whole()


def parse_group(text: str) -> FiniteGroup:
    """The group with that name; see `grammar.GRAMMAR` for the spellings. White space does not count.

    The result's name is the canonical spelling: no white space, no needless parentheses, no foreign names.

    Raises:
        InvalidInput: the name is not in the grammar (lists it), or its parameters make no group.
        TooLarge: the order is above the limit.
    """
    # A file may change between two readings, a name does not.
    return _Parser(text).whole() if "table:" in text else _parse_cached(text)


def as_group(group: FiniteGroup | str) -> FiniteGroup:
    """The group itself, or the one that a spelling names.

    Raises:
        InvalidInput, TooLarge: as `parse_group`; InvalidInput also for what is neither.
    """
    if isinstance(group, FiniteGroup):
        return group
    if isinstance(group, str):
        return parse_group(group)
    raise InvalidInput("group", expected="a FiniteGroup or a name such as S3", got=type(group).__name__)


class CachedByGroup(Protocol[Result]):
    """A function of a group or its spelling that remembers its latest results."""

    def __call__(self, group: FiniteGroup | str) -> Result:
        """The function."""

    def cache_clear(self) -> None:
        """Forget the results."""


def cached_by_group(
    maxsize: int,
) -> Callable[[Callable[[FiniteGroup], Result]], CachedByGroup[Result]]:
    """`functools.lru_cache` for a function of one group, which then takes a spelling, too.

    A spelling is read first, so that a group and all its spellings with one canonical name share a result.
    """

    def decorate(function: Callable[[FiniteGroup], Result]) -> CachedByGroup[Result]:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def read(group: FiniteGroup | str) -> Result:
            return cached(as_group(group))

        remembering = cast(CachedByGroup[Result], read)
        remembering.cache_clear = cached.cache_clear  # type: ignore[method-assign]
        return remembering

    return decorate


def _unknown(text: str) -> InvalidInput:
    near, line = suggestion(text), nearest_line(text)
    return InvalidInput(
        "group",
        expected=f"a name such as {SPELLINGS}",
        got=repr(text),
        hint=f"did you mean {near}?" if near else f"nearest in the grammar is {line}" if line else "",
    )


def suggestion(text: str) -> str:
    """The canonical name of the group that the text names with a slip of the hand, "" when there is none."""
    for attempt in respellings(text):
        try:
            return _Parser(attempt, suggest=False).whole().name
        except StlError:
            continue
    return ""


#: How tightly a spelling holds together: what stands in parentheses inside what.
_PRODUCT, _SEMIDIRECT, _WREATH, _POWER, _ATOM = range(5)

#: Parentheses within each other, far below the depth of Python's recursion.
_DEEPEST = 50


class _Parser:
    """Recursive descent; every method returns the group under its canonical name and how tightly it holds.

    product: semidirect ("x" semidirect)*, semidirect: wreath (":" wreath action?)*,
    wreath: power ("wr" power)*, power: atom ("^" number)?, atom: a family with its parameters, perm:, table:,
    a foreign name or "(" product ")".
    """

    def __init__(self, text: str, *, suggest: bool = True) -> None:
        self.given, self.suggest = text, suggest
        # Within cycles and file names white space counts; everywhere else it does not.
        self.text = text.strip() if "perm:" in text or "table:" in text else re.sub(r"\s+", "", text)
        self.at = self.depth = 0

    def whole(self) -> FiniteGroup:
        """The group that the whole text names."""
        if self.text.startswith("table:"):
            return make.from_file(self.text)
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
        while self.take("[xX×]"):
            factors.append(self.semidirect())
        if len(factors) == 1:
            return factors[0]
        name = "x".join(_wrapped(f, _SEMIDIRECT) for f in factors)
        return make.direct_product([group for group, _ in factors], name), _PRODUCT

    def semidirect(self) -> tuple[FiniteGroup, int]:
        """wreath (":" wreath action?)*"""
        left = self.wreath()
        while self.take("[:⋊]"):
            right = self.wreath()
            # (A:B):C is written A:B:C; a right side that is itself a product has parentheses.
            name = f"{_wrapped(left, _SEMIDIRECT)}:{_wrapped(right, _WREATH)}"
            action = self.take(r"\(([^()]*)\)")
            printed_by_gap = "" if action else structure(name)
            if printed_by_gap:
                left = self.nested(printed_by_gap)
            else:
                given = action[1] if action else None
                left = semidirect_by_text(left[0], right[0], name, given), _SEMIDIRECT
        return left

    def wreath(self) -> tuple[FiniteGroup, int]:
        """power ("wr" power)*"""
        left = self.power()
        while self.take("wr|≀"):
            right = self.power()
            name = f"{_wrapped(left, _WREATH)}wr{_wrapped(right, _POWER)}"
            left = wreath_product(left[0], right[0], name), _WREATH
        return left

    def nested(self, spelling: str) -> tuple[FiniteGroup, int]:
        """The group that another spelling names."""
        return _Parser(spelling, suggest=False).product()

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
            return make.from_file(table[0].strip()), _PRODUCT
        for pattern, translate in FOREIGN:
            match = self.take(pattern)
            if match:
                return self.nested(translate(match))
        for pattern, family in _ATOMS:
            match = self.take(pattern)
            if match:
                numbers = [g for g in match.groups() if g is not None]
                if any(len(g) > 6 for g in numbers):
                    raise InvalidInput("group", expected="a size of at most six digits", got=match[0])
                return family.build(*map(_positive, numbers)), _ATOM
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
        return make.from_cycles(generators)


def _wrapped(parsed: tuple[FiniteGroup, int], at_least: int) -> str:
    """The name, in parentheses unless it holds together at least that tightly."""
    group, tightness = parsed
    return group.name if tightness >= at_least else f"({group.name})"
