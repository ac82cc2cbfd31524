"""Names of groups: the parser of the grammar that the command line and every file use.

`parse_group(group.name)` gives the group back; `as_group` and `cached_by_group` are for functions that take a
group or its name. What does not belong here: how the tables are computed (`constructions`, `matrix_groups`,
`semidirect`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Protocol, TypeVar, cast

from stl_algebra.errors import InvalidInput, StlError
from stl_algebra.groups import constructions as make
from stl_algebra.groups.families import FAMILIES, Family
from stl_algebra.groups.grammar import NAME_TABLE, SPELLINGS
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.semidirect import automorphism, semidirect_cyclic, semidirect_product
from stl_algebra.groups.words import letters

Result = TypeVar("Result", covariant=True)


def _pattern(family: Family) -> re.Pattern[str]:
    numbers = r"\s*,\s*".join([r"(\d+)"] * family.parameters)
    bare = family.parameters == 1 and not family.parentheses
    return re.compile(family.symbol + (numbers if bare else rf"\(\s*{numbers}\s*\)"))


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

    The result's name is the canonical spelling: no white space, no needless parentheses.

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
    near = suggestion(text)
    return InvalidInput(
        "group",
        expected=f"a name such as {SPELLINGS}",
        got=repr(text),
        hint=f"did you mean {near}?" if near else "",
    )


#: Symbols of the families by their lower case, other people's too.
_SYMBOLS = {name.lower(): f.symbol for f in FAMILIES for name in (f.symbol, *f.aliases)}

_BARE = "|".join(f.symbol for f in FAMILIES if f.parameters == 1 and not f.parentheses)


def suggestion(text: str) -> str:
    """A valid name that someone who typed `text` may have meant, "" when none is near."""
    pattern = "|".join(sorted((re.escape(k) for k in _SYMBOLS), key=len, reverse=True))
    respelled = re.sub(
        rf"(?i)({pattern})(?=_?\(?_?\d)", lambda m: _SYMBOLS[m[1].lower()], re.sub(r"\s+|_", "", text)
    )
    respelled = re.sub(r"[X*]", "x", respelled)
    for attempt in (respelled, re.sub(rf"\b({_BARE})\((\d+)\)", r"\1\2", respelled)):
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
            return make.from_file(table[0].strip()), _PRODUCT
        for pattern, family in _ATOMS:
            match = self.take(pattern)
            if match:
                if any(len(g) > 6 for g in match.groups()):
                    raise InvalidInput("group", expected="a size of at most six digits", got=match[0])
                return family.build(*map(_positive, match.groups())), _ATOM
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
