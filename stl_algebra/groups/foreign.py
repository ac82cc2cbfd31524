"""Names that users of GAP, sympy and books have for groups, translated into spellings of the grammar.

Where two conventions give one name to different groups, it is refused with both. What does not belong here:
other letters for whole families, which are aliases in `families`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sympy import factorint

from stl_algebra.errors import InvalidInput
from stl_algebra.groups.small_groups import spelling

#: Semidirect products with a factor that is not cyclic, as GAP's StructureDescription prints them without
#: their action, and all groups for which it does.
STRUCTURES: dict[str, tuple[str, ...]] = {
    "C2^2:C3": ("A4",),
    "C2^2:C9": ("C2^2:C9(a->b,b->ab)",),
    "C2^3:C7": ("AGL(1,8)",),
    "C3^2:C2": ("C3^2:C2(a->a^-1,b->b^-1)",),
    "C3^2:C3": ("He(3)",),
    "C3^2:C4": ("SmallGroup(36,7)", "SmallGroup(36,9)"),
    "C5^2:C2": ("C5^2:C2(a->a^-1,b->b^-1)",),
    "C5^2:C5": ("He(5)",),
    "C3:Q8": ("Dic6",),
    "C5:Q8": ("Dic10",),
    "C7:Q8": ("Dic14",),
    "(C4xC2):C2": ("SmallGroup(16,3)", "SmallGroup(16,13)"),
    "(C6xC2):C2": ("SmallGroup(24,8)",),
    "(C10xC2):C2": ("SmallGroup(40,8)",),
    "(C14xC2):C2": ("SmallGroup(56,7)",),
    "Q8:C3": ("SL(2,3)",),
}


def structure(name: str) -> str:
    """The spelling of the group that GAP prints as N:H, "" when the name is not among those known.

    Args:
        name: canonical, without white space; (C2xC2) is read as C2^2.

    Raises:
        InvalidInput: GAP prints the name for several groups; lists them.
    """
    shortened = re.sub(r"\((C\d+)((?:x\1)+)\)", lambda m: f"{m[1]}^{1 + m[2].count('x')}", name)
    meant = STRUCTURES.get(shortened, ())
    if len(meant) > 1:
        raise InvalidInput(
            f"semidirect product {name}",
            expected="one group; GAP prints this name for several, by their action",
            got="no action",
            hint=f"write {' or '.join(meant)}, or an action such as {name}(a->...)",
        )
    return meant[0] if meant else ""


def convention(name: str) -> str:
    """What a reader who is used to other conventions should know about the name, "" when there is nothing."""
    dihedral = re.fullmatch(r"D(\d+)", name)
    if not dihedral or int(dihedral[1]) < 2:
        return ""
    n = int(dihedral[1])
    other = f"; GAP's D{n}, of order {n}, is D{n // 2} here" if n % 2 == 0 else ""
    return f"{name} has the symmetries of the {n}-gon and order {2 * n}: GAP prints it as D{2 * n}{other}."


def _small_group(match: re.Match[str]) -> str:
    return spelling(int(match[1]), int(match[2]))


def _dihedral(match: re.Match[str]) -> str:
    n = int(match[1] or match[2])
    if n % 2 == 0:
        raise InvalidInput(
            f"group {match[0]}",
            expected="a name that means one group: GAP and sympy differ",
            got=match[0],
            hint=f"D{n // 2} has order {n}, as GAP's DihedralGroup({n}); D{n} has the symmetries of the "
            f"{n}-gon and order {2 * n}, as sympy's",
        )
    # GAP has none of odd order.
    return f"D{n}"


def _dicyclic(match: re.Match[str]) -> str:
    n = int(match[1])
    raise InvalidInput(
        f"group {match[0]}",
        expected="a name that means one group: GAP counts elements, Sage half the size of the cyclic part",
        got=match[0],
        hint=(f"Dic{n // 4} is the one of order {n}, " if n % 4 == 0 else "") + f"Dic{n} of order {4 * n}",
    )


def _abelian(match: re.Match[str]) -> str:
    return "x".join(f"C{n}" for n in re.findall(r"\d+", match[1]))


def _elementary(match: re.Match[str]) -> str:
    n = int(match[1])
    factors = factorint(n)
    if len(factors) != 1:
        raise InvalidInput(f"group {match[0]}", expected="the power of a prime as order", got=n)
    ((p, exponent),) = factors.items()
    return f"C{p}^{exponent}"


def _permutations(match: re.Match[str]) -> str:
    return f"(perm:{match[1]})"


_CYCLES = r"(?:\(\d+(?:,\d+)*\))+"

#: Patterns and the spelling that a match stands for.
FOREIGN: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), translate)
    for pattern, translate in (
        (r"(?i:SmallGroup)\(\[?(\d{1,6}),(\d{1,9})\]?\)", _small_group),
        (r"(?i:Dih(?:edralGroup)?)(?:_?(\d{1,6})|\((\d{1,6})\))", _dihedral),
        (r"(?i:DicyclicGroup)\((\d{1,6})\)", _dicyclic),
        (r"(?i:AbelianGroup)\(\[?(\d{1,6}(?:,\d{1,6})*)\]?\)", _abelian),
        (r"(?i:ElementaryAbelianGroup)\((\d{1,6})\)", _elementary),
        (rf"Group\(\[?({_CYCLES}(?:,{_CYCLES})*)\]?\)", _permutations),
        (r"Z/(\d{1,6})Z?", lambda match: f"C{match[1]}"),
        (r"V_?4(?!\d)|K_?4(?!\d)", lambda match: "C2^2"),
    )
)
