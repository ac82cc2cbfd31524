"""Families without a group: known exact algorithms, to be pruned (F4), and random factors, the control."""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.fit import refit_decoder
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import definition
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.families.registry import Request, register


@register(
    "known",
    uses_group=False,
    summary="the cheapest exact algorithm composed of known ones, to be pruned to the rank",
)
def known(request: Request) -> BilinearAlgorithm:
    """`catalogue.exact_algorithm`, or the definition when the rank asked for is above it."""
    algorithm = exact_algorithm(request.tile)
    if algorithm.rank < request.rank:
        algorithm = definition(request.tile)
    return algorithm.renamed(f"pruned {algorithm.name}", Provenance(steps=(f"start {algorithm!r}",)))


@register("random", uses_group=False, summary="Gaussian random factors, the control without structure")
def random(request: Request) -> BilinearAlgorithm:
    """Independent standard normal encoders with their best decoder."""
    rng = np.random.default_rng(request.seed)
    t, r = request.tile, request.rank
    start = BilinearAlgorithm(
        t,
        rng.normal(size=(r, t.x_size)),
        rng.normal(size=(r, t.w_size)),
        rng.normal(size=(t.y_size, r)),
        "random",
    )
    return refit_decoder(start)
