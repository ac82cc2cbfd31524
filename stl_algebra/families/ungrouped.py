"""F4: known exact algorithms and their Kronecker products and direct sums, as starts for pruning."""

from __future__ import annotations

from stl_algebra.algorithms.bilinear import BilinearAlgorithm, Provenance
from stl_algebra.algorithms.compose import definition
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.families.registry import Request, register


@register(
    "known",
    uses_group=False,
    summary="the cheapest exact algorithm composed of known ones, to be pruned to the rank",
)
def known(request: Request) -> BilinearAlgorithm:
    """`known.exact_algorithm`, or the definition when the rank asked for is above it."""
    algorithm = exact_algorithm(request.tile)
    if algorithm.rank < request.rank:
        algorithm = definition(request.tile)
    return algorithm.renamed(
        f"pruned {algorithm.name}", Provenance(family="known", steps=(f"start {algorithm!r}",))
    )
