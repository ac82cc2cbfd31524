"""Starts from the published frontier: encoders of a rank above, to be pruned, or below, with products added.

What a search finds from them improves on what the package has, or gives it again; so a search takes this
family only when it is named. What does not belong here: whole frontiers (`stl-search descend`), exact
algorithms to begin with (`ungrouped`, `dictionary`).
"""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.errors import NoCandidate
from stl_algebra.families.random_products import with_random_products
from stl_algebra.families.registry import Request, register
from stl_algebra.published import of_format

#: Ranks away at most.
_REACH = 4


@register(
    "neighbours",
    uses_group=False,
    when_named=True,
    summary="published encoders of a rank up to 4 above, to be pruned, or below, with random products",
)
def neighbours(request: Request) -> BilinearAlgorithm:
    """One of the package's algorithms of a rank near the one asked for, by the seed.

    Raises:
        NoCandidate: there is none within four ranks.
    """
    rng = np.random.default_rng(request.seed)
    near = [known for known in of_format(request.tile) if 0 < abs(known.rank - request.rank) <= _REACH]
    if not near:
        raise NoCandidate(
            f"family neighbours has nothing of {request.tile} within {_REACH} ranks of {request.rank}"
        )
    start = near[int(rng.integers(len(near)))]
    added = max(request.rank - start.rank, 0)
    steps = (f"start {start!r}" + (f", {added} random products" if added else ""),)
    return with_random_products(start.renamed(f"from {start.name}", Provenance()), added, rng, steps)
