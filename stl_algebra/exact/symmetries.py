"""Symmetry groups of known algorithms: one table of plain records, with their sources.

They were read off the algorithms in the sources and are checked by the tests, which compute the stabilisers
again. What does not belong here: the groups as they act (`families.orbits`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NamedSymmetry:
    """The stabiliser of a known algorithm.

    Attributes:
        generators: as `families.orbits.GeneratedSymmetry.parse` reads them.
        rank: of the algorithm.
        orbit_sizes: of its products, largest first.
        summary: one line.
        source: where the algorithm and its group are described.
    """

    generators: str
    rank: int
    orbit_sizes: tuple[int, ...]
    summary: str
    source: str


#: Name -> the group; the order of the list in help texts.
NAMED_SYMMETRIES: dict[str, NamedSymmetry] = {
    "strassen": NamedSymmetry(
        "XWZ(0 1,-1 -1;0 1,-1 -1;0 1,-1 -1)|XWZ(2 1;2 1;2 1)|ZXW(1 2;1 2;1 2)|ZWX(-2 1;-2 1;-2 1)",
        7,
        (6, 1),
        "S3 x S3, order 36: S3 by simultaneous conjugation, and all permutations of the modes",
        "Strassen 1969; Burichenko, arXiv 1408.6273; Chiantini et al., arXiv 1610.08364",
    ),
    "laderman": NamedSymmetry(
        "XWZ(-1 -3 -2;-1 -2 -3;-1 -3 -2)|XZW(-3 1 -2;2 -1 -3;1 -3 -2)|ZXW(1 -2 -3;-2 -1 -3;-2 1 -3)",
        23,
        (8, 6, 4, 4, 1),
        "S4, order 24: C2^2 keeps the modes, the quotient S3 permutes them",
        "Laderman 1976; Burichenko, arXiv 1508.01110",
    ),
    "rational-48": NamedSymmetry(
        "XWZ(-4 -3 -2 -1;-1 4 3 2;1 -2 -3 4)|XWZ(4 -2 -3 1;-3 -2 -1 4;1 2 3 -4)"
        "|XWZ(-1 -2 3 4;-1 -4 -3 -2;3 -4 -1 2)|XWZ(1 -2 -3 -4;-3 4 -1 2;1 4 -3 2)"
        "|WXZ(0 1 0 1,-1 0 1 0,-1 0 -1 0,0 -1 0 1;0 1 0 1,1 0 1 0,0 1 0 -1,1 0 -1 0;"
        "0 1 1 0,-1 0 0 1,0 -1 1 0,-1 0 0 -1)",
        48,
        (32, 16),
        "order 64: the extraspecial group 2^{1+4}_+ keeps the modes, a twisted transpose swaps X and W",
        "read off the algorithm of Dumas, Pernet and Sedoglavic, arXiv 2506.13242",
    ),
}
