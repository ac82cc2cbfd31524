"""The control: random encoders, so that every report shows what structure is worth."""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm, Provenance
from stl_algebra.algorithms.fit import refit_decoder
from stl_algebra.families.registry import Request, register


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
        Provenance(family="random", seed=request.seed),
    )
    return refit_decoder(start)
