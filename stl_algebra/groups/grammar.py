"""The grammar of names in words, for the command line and error messages, and the names that are listed.

The families' part comes from their table, the operators' part is here. What does not belong here: reading
names (`names`).
"""

from __future__ import annotations

from stl_algebra.groups.families import FAMILIES, OTHERS

#: The operators between groups and the groups that are given by what they consist of, for the grammar.
_OPERATORS = (
    ("C7:C3, C8:C2(3)", "semidirect product of cyclic groups, faithful or with x -> x^3"),
    (
        "C2^2:C3(a->b,b->ab)",
        "semidirect product N:H by an action: where the generator of H takes the generators",
    ),
    ("", 'generators a, b, ... of N; those left out stay; one list per generator of H, between ";"'),
    ("C2^5, S3xC2, (S3xC2)^2", "direct powers and products; ^ binds before : and : before x"),
    ("perm:(1 2 3)(4 5),(1 2)", "permutations that generate the group, as cycles"),
    ("table:FILE.npy", "Cayley table, table[i, j] = k where g_i g_j = g_k (.npy, .csv or .txt)"),
)

GRAMMAR = "\n".join(
    [
        *(f"{', '.join(f.examples):<25} {f.help}" for f in FAMILIES),
        *(f"{example:<25} {meaning}" for example, meaning in _OPERATORS),
        "`stl-search group NAME` shows the generators a, b, ... of a group and their orders.",
    ]
)

#: The grammar in one line, for error messages.
SPELLINGS = (
    ", ".join(f.examples[0] for f in FAMILIES)
    + ", C2^4, C7:C3, C8:C2(3), C2^2:C3(a->b,b->ab), products S3xC2, powers (S3xC2)^2, perm:(1 2 3),(1 2) "
    "or table:FILE.npy"
)

#: Groups that `stl-search groups` lists: of order at most 60, and all of order below 32.
NAME_TABLE: tuple[str, ...] = (*(f.spelling(*p) for f in FAMILIES for p in f.listed), *OTHERS)
