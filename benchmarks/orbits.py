"""How often and how fast invariant algorithms are found: Strassen's rank from S_3, symmetric <3,3,3;23>.

The first one of each case is rounded inside its invariant space, and the symmetry checked in integers.

What does not belong here: the search itself (`families.orbits`).
"""

from __future__ import annotations

import time
from typing import Any

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.verify import verify
from stl_algebra.families.orbits import (
    Symmetry,
    algorithms_of,
    discretise_invariant,
    is_invariant,
    orbit_types,
    refine_invariant,
)

#: (symmetry, its orbit types, each as often as it occurs: positions in `orbit_types`, starts)
CASES = (
    ("S3/2/", (0, 6), 16),
    ("C1/0+0+0/cyclic", (0,) * 7 + (1,) * 2, 8),
    ("C1/0+0+0/cyclic", (0,) * 4 + (1,) * 11, 8),
    ("C4/0+2/cyclic", (0, 3, 3, 6, 7), 48),
)
#: Starts that are refined together.
BATCH = 4


def find(
    spelling: str, positions: tuple[int, ...], starts: int, seed: int = 0
) -> tuple[list[BilinearAlgorithm], dict[str, Any]]:
    """The algorithms exact in floats from so many starts, and one row about the search.

    The row's ring is that of the first algorithm rounded, "" when rounding found nothing.
    """
    symmetry = Symmetry.parse(spelling)
    began = time.perf_counter()
    types = orbit_types(symmetry)
    chosen = [types[i] for i in positions]
    found: list[BilinearAlgorithm] = []
    first = None
    for batch in range(0, starts, BATCH):
        fit = refine_invariant(symmetry, chosen, starts=min(BATCH, starts - batch), seed=seed + batch)
        found += [a for a in algorithms_of(fit, symmetry, chosen) if nmse(a) < 1e-24]
        if found and first is None:
            first = time.perf_counter() - began
    assert all(is_invariant(a, symmetry) for a in found)
    searched = time.perf_counter()
    rounded = discretise_invariant(found[0], symmetry, chosen, tries=1) if found else None
    row = {
        "symmetry": spelling,
        "order": symmetry.order,
        "tile": symmetry.tile.slug,
        "rank": sum(o.size for o in chosen),
        "orbit_sizes": [o.size for o in chosen],
        "free_parameters": sum(o.free_parameters for o in chosen),
        "starts": starts,
        "exact": len(found),
        "seconds_to_first": first,
        "seconds": searched - began,
        "ring": verify(rounded[0]).ring if rounded else "",
        "largest_entry": max(float(abs(f).max()) for f in rounded[0].factors) if rounded else None,
        "invariant_in_exact_arithmetic": rounded is not None and rounded[1].is_invariant(rounded[0]),
        "seconds_rounding": time.perf_counter() - searched,
    }
    return found, row


def run() -> list[dict[str, Any]]:
    """One row per symmetry and union of orbits: starts, how many became exact in floats, seconds."""
    rows = []
    for case in CASES:
        rows.append(find(*case)[1])
        print(rows[-1], flush=True)
    return rows
