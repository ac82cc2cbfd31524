"""The grammar of names in words, for the command line and error messages, and the names that are listed.

The families' part comes from their table, the operators' part is here. What does not belong here: reading
names (`names`).
"""

from __future__ import annotations

from stl_algebra.groups.families import FAMILIES, OTHERS

#: The operators between groups and the groups that are given by what they consist of, for the grammar.
OPERATORS = (
    (
        "C7:C3, C8:C2(3)",
        "semidirect product of cyclic groups by the only action that may be meant, or x -> x^3",
    ),
    ("C2^2:C3(a->b,b->ab)", "semidirect product N:H by an action: where the generator of H takes the"),
    ("", 'generators a, b, ... of N; those left out stay; one list per generator of H, between ";"'),
    ("C2wrC3, C2^2wrS3", "wreath product: H permutes copies of N; on the right Cn, Sn, An or perm:..."),
    ("C2^5, S3xC2, (S3xC2)^2", "direct powers and products; ^ binds before wr, : and, last, x"),
    ("perm:(1 2 3)(4 5),(1 2)", "permutations that generate the group, as cycles"),
    ("table:FILE.npy", "Cayley table, table[i, j] = k where g_i g_j = g_k (.npy, .csv or .txt)"),
    ("SmallGroup(24,12)", "number in GAP's library, where known: all orders below 32 and others"),
)

GRAMMAR = "\n".join(
    [
        *(f"{', '.join(f.examples):<25} {f.help}" for f in FAMILIES),
        *(f"{example:<25} {meaning}" for example, meaning in OPERATORS),
        "Read as well: Z6, C_6, QD16, V4, C2 x C2, C2 X C2, CyclicGroup(6), SymmetricGroup(4),",
        "AlternatingGroup(5), QuaternionGroup(8), AbelianGroup([2,4]), ElementaryAbelianGroup(8),",
        "Group((1,2,3),(1,2)), and products as GAP prints them: C3 : C4, (C6 x C2) : C2.",
        "`stl-search group NAME` shows the generators a, b, ... of a group and their orders.",
    ]
)

#: The grammar in one line, for error messages.
SPELLINGS = (
    ", ".join(f.examples[0] for f in FAMILIES)
    + ", C2^4, C7:C3, C8:C2(3), C2^2:C3(a->b,b->ab), C2wrC3, products S3xC2, powers (S3xC2)^2, "
    "perm:(1 2 3),(1 2), table:FILE.npy or SmallGroup(24,12)"
)

#: Groups that `stl-search groups` lists: of order at most 60, and all of order below 32.
NAME_TABLE: tuple[str, ...] = (*(f.spelling(*p) for f in FAMILIES for p in f.listed), *OTHERS)
