"""The registered family `orbits`: draw a symmetry and a union of orbits, refine inside the invariant space.

What does not belong here: the mathematics of orbits, which is in the modules beside this one.
"""

from __future__ import annotations

import numpy as np

from stl_algebra.bilinear import BilinearAlgorithm
from stl_algebra.error import nmse, total
from stl_algebra.errors import TooLarge
from stl_algebra.families.orbits.invariant import algorithms_of, refine_invariant
from stl_algebra.families.orbits.multisets import draw_early
from stl_algebra.families.orbits.orbit_types import OrbitType, orbit_types
from stl_algebra.families.orbits.symmetry import MODES, Symmetry, draw_representation
from stl_algebra.families.registry import NoCandidate, Request, register

#: Pulls of a draw; the last one bounds the factors of algorithms that cannot be exact.
_PULLS = (1e-2, 1e-3, 1e-4)
#: Entries of Gram matrices that one candidate may take, two or three seconds on one core at <4,4,4>.
_WORK = 1.2e8
_LARGEST_PARAMETERS = 8000
_NEARLY_EXACT, _EXACT_IN_FLOATS = 1e-2, 1e-20
_ATTEMPTS = 60


@register(
    "orbits",
    uses_group=True,
    summary="unions of orbits of a group acting on the tensor, refined inside the invariant space",
)
def orbits(request: Request) -> BilinearAlgorithm:
    """The best of a few symmetries and decompositions into orbits that the seed draws, of exactly the rank.

    For square formats the group acts by simultaneous conjugation, with or without the cyclic shift and the
    transpose; for others by a representation on each side. Decompositions with large orbits are drawn more
    often. Small formats get several draws, large ones one.
    """
    tile, rank = request.tile, request.rank
    parameters = rank * (tile.x_size + tile.w_size + tile.y_size)
    if parameters > _LARGEST_PARAMETERS:
        raise NoCandidate(
            f"orbits: {tile} at rank {rank} has {parameters} entries, more than {_LARGEST_PARAMETERS}"
        )
    affordable = _WORK / parameters**2
    steps = int(np.clip(affordable / len(_PULLS), 8, 40))
    starts = int(np.clip(affordable / (len(_PULLS) * steps), 1, 4))
    draws = int(np.clip(affordable / (len(_PULLS) * steps * starts), 1, 8))
    rng = np.random.default_rng([request.seed, rank])
    found: list[BilinearAlgorithm] = []
    for _ in range(draws):
        symmetry, chosen = _drawn(request, rng)
        seed = int(rng.integers(2**31))
        schedule = [(pull, steps) for pull in _PULLS]
        fit = refine_invariant(symmetry, chosen, starts=starts, seed=seed, schedule=schedule)
        found += algorithms_of(fit, symmetry, chosen)[:1]
        if nmse(found[-1]) < _NEARLY_EXACT:
            start = [f[fit.best()] for f in fit.factors]
            exact = refine_invariant(symmetry, chosen, schedule=((0.0, 4 * steps),), factors=start)
            found += algorithms_of(exact, symmetry, chosen)
            if nmse(found[-1]) < _EXACT_IN_FLOATS:
                break
    return min(found, key=lambda algorithm: total(algorithm, "bf16"))


def _drawn(request: Request, rng: np.random.Generator) -> tuple[Symmetry, list[OrbitType]]:
    """A symmetry of the format and orbits whose sizes add up to the rank."""
    group, tile = request.group, request.tile
    assert group is not None
    sides = (tile.n, tile.k, tile.m)
    square = len(set(sides)) == 1
    for _ in range(_ATTEMPTS):
        if square:
            representation = draw_representation(group, tile.n, rng)
            symmetry = Symmetry.square(group, representation, str(rng.choice(list(MODES))))
        else:
            n, k, m = (draw_representation(group, side, rng) for side in sides)
            symmetry = Symmetry(group, (n, k, m))
        try:
            if symmetry.order == 1:
                continue
            types = orbit_types(symmetry)
        except TooLarge:
            continue
        sizes = [o.size for o in types]
        drawn = draw_early(sizes, request.rank, rng)
        if drawn is not None:
            return symmetry, [types[i] for i in drawn]
    raise NoCandidate(f"orbits: no symmetry from {group.name} was found with orbits that add up to the rank")
