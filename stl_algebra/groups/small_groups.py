"""Numbers of groups in the small groups library of GAP (Besche, Eick, O'Brien 2002).

A number says nothing by itself: the library's order is what it is. All groups of order below 32 are here, and
larger ones whose number is certain. What does not belong here: finding the number of a group (`recognition`).
"""

from __future__ import annotations

from math import gcd

from sympy import factorint, totient

from stl_algebra.errors import InvalidInput

#: Spellings of the groups of an order, number 1 first.
_COMPLETE: dict[int, tuple[str, ...]] = {
    1: ("C1",),
    8: ("C8", "C4xC2", "D4", "Q8", "C2^3"),
    12: ("Dic3", "C12", "A4", "D6", "C6xC2"),
    16: (
        "C16", "C4^2", "(C4xC2):C2(a->ab)", "C4:C4(3)", "C8xC2", "M16", "D8", "SD16", "Q16", "C4xC2^2",
        "D4xC2", "Q8xC2", "(C4xC2):C2(b->a^2b)", "C2^4",
    ),
    18: ("D9", "C18", "S3xC3", "C3^2:C2(a->a^-1,b->b^-1)", "C6xC3"),
    20: ("Dic5", "C20", "F20", "D10", "C10xC2"),
    24: (
        "C3:C8(2)", "C24", "SL(2,3)", "Dic6", "S3xC4", "D12", "Dic3xC2", "C3:D4(a->a^-1;)", "C12xC2",
        "D4xC3", "Q8xC3", "S4", "A4xC2", "S3xC2^2", "C6xC2^2",
    ),
    28: ("Dic7", "C28", "D14", "C14xC2"),
    30: ("S3xC5", "D5xC3", "D15", "C30"),
    36: (
        "Dic9", "C36", "C2^2:C9(a->b,b->ab)", "D18", "C18xC2", "Dic3xC3", "C3^2:C4(a->a^-1,b->b^-1)",
        "C12xC3", "C3^2:C4(a->b,b->a^-1)", "S3^2", "A4xC3", "S3xC6", "(C3^2:C2(a->a^-1,b->b^-1))xC2",
        "C6^2",
    ),
    40: (
        "C5:C8(4)", "C40", "C5:C8(2)", "Dic10", "D5xC4", "D20", "Dic5xC2", "C5:D4(a->a^-1;)", "C20xC2",
        "D4xC5", "Q8xC5", "F20xC2", "D5xC2^2", "C10xC2^2",
    ),
    42: ("F42", "F21xC2", "S3xC7", "D7xC3", "D21", "C42"),
    44: ("Dic11", "C44", "D22", "C22xC2"),
    45: ("C45", "C15xC3"),
    50: ("D25", "C50", "D5xC5", "C5^2:C2(a->a^-1,b->b^-1)", "C10xC5"),
    52: ("Dic13", "C52", "F52", "D26", "C26xC2"),
    56: (
        "C7:C8(6)", "C56", "Dic14", "D7xC4", "D28", "Dic7xC2", "C7:D4(a->a^-1;)", "C28xC2", "D4xC7",
        "Q8xC7", "AGL(1,8)", "D7xC2^2", "C14xC2^2",
    ),
    60: (
        "Dic3xC5", "Dic5xC3", "Dic15", "C60", "A5", "F20xC3", "C15:C4(2)", "S3xD5", "A4xC5", "D5xC6",
        "S3xC10", "D30", "C30xC2",
    ),
}  # fmt: skip

#: Single groups of further orders.
_SINGLE: dict[tuple[int, int], str] = {
    (32, 1): "C32", (32, 3): "C8xC4", (32, 16): "C16xC2", (32, 17): "M32", (32, 18): "D16",
    (32, 19): "SD32", (32, 20): "Q32", (32, 21): "C4^2xC2", (32, 22): "((C4xC2):C2(a->ab))xC2",
    (32, 23): "(C4:C4(3))xC2", (32, 25): "D4xC4", (32, 26): "Q8xC4", (32, 36): "C8xC2^2",
    (32, 37): "M16xC2", (32, 39): "D8xC2", (32, 40): "SD16xC2", (32, 41): "Q16xC2", (32, 45): "C4xC2^3",
    (32, 46): "D4xC2^2", (32, 47): "Q8xC2^2", (32, 48): "((C4xC2):C2(b->a^2b))xC2", (32, 49):
    "(D4xC2):C2(c->a^2c)", (32, 50): "(Q8xC2):C2(c->a^2c)", (32, 51): "C2^5",
    (48, 1): "C3:C16(2)", (48, 2): "C48", (48, 4): "S3xC8", (48, 7): "D24", (48, 8): "Dic12",
    (48, 9): "(C3:C8(2))xC2", (48, 11): "Dic3xC4", (48, 20): "C12xC4", (48, 21): "((C4xC2):C2(a->ab))xC3",
    (48, 22): "(C4:C4(3))xC3", (48, 23): "C24xC2", (48, 24): "M16xC3", (48, 25): "D8xC3",
    (48, 26): "SD16xC3", (48, 27): "Q16xC3", (48, 29): "GL(2,3)", (48, 31): "A4xC4",
    (48, 32): "SL(2,3)xC2", (48, 34): "Dic6xC2", (48, 35): "S3xC4xC2", (48, 36): "D12xC2",
    (48, 38): "D4xS3", (48, 40): "Q8xS3", (48, 42): "Dic3xC2^2", (48, 43): "(C3:D4(a->a^-1;))xC2",
    (48, 44): "C12xC2^2", (48, 45): "D4xC6", (48, 46): "Q8xC6", (48, 47): "((C4xC2):C2(b->a^2b))xC3",
    (48, 48): "S4xC2", (48, 49): "A4xC2^2", (48, 51): "S3xC2^3", (48, 52): "C6xC2^3", (54, 1): "D27",
    (54, 2): "C54", (54, 3): "D9xC3", (54, 4): "S3xC9", (54, 9): "C18xC3", (54, 10): "He(3)xC2",
    (54, 11): "M27xC2", (54, 12): "S3xC3^2", (54, 15): "C6xC3^2", (72, 39): "AGL(1,9)",
    (120, 5): "SL(2,5)", (120, 34): "S5", (168, 42): "PSL(2,7)", (216, 153): "ASL(2,3)",
    (336, 208): "PGL(2,7)", (360, 118): "A6", (432, 734): "AGL(2,3)", (504, 156): "PSL(2,8)",
    (660, 13): "PSL(2,11)",
}  # fmt: skip


def known_numbers(order: int) -> dict[int, str]:
    """{number: spelling} of the groups of this order whose number is known.

    Besides the tables: the cyclic group where there is no other, and orders p^2, p q and p^3, whose groups
    the library lists in one way for all primes.
    """
    if order in _COMPLETE:
        return dict(enumerate(_COMPLETE[order], 1))
    found = {number: name for (n, number), name in _SINGLE.items() if n == order}
    factors = {int(p): e for p, e in factorint(order).items()}
    if sum(factors.values()) == 2 and len(factors) == 1:
        (p,) = factors
        return {1: f"C{order}", 2: f"C{p}^2"}
    if sum(factors.values()) == 3 and len(factors) == 1:
        (p,) = factors
        return {1: f"C{order}", 2: f"C{p * p}xC{p}", 3: f"He({p})", 4: f"M{order}", 5: f"C{p}^3"}
    if gcd(order, int(totient(order))) == 1:
        return {1: f"C{order}"}
    if sum(factors.values()) == 2:
        small, large = sorted(factors)
        return {1: "S3" if order == 6 else f"D{large}" if small == 2 else f"F{order}", 2: f"C{order}"}
    return found


def spelling(order: int, number: int) -> str:
    """The group SmallGroup(order, number) in the grammar.

    Raises:
        InvalidInput: no group has this number, or which one is not known here; says which are.
    """
    known = known_numbers(order) if order > 0 else {}
    if number not in known:
        listed = ", ".join(map(str, sorted(known)))
        raise InvalidInput(
            f"group SmallGroup({order},{number})",
            expected=f"a number that is known for order {order}: {listed}"
            if known
            else "an order with numbers that are known, as all orders below 32",
            got=number if known else order,
            hint="" if order in _COMPLETE else "give permutations that generate it, as perm:(1 2 3),(1 2)",
        )
    return known[number]
