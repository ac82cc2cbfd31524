"""The registered family `orbits`: draw a symmetry and a union of orbits, refine inside the invariant space.

What does not belong here: the mathematics of orbits, which is in the modules beside this one.
"""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import nmse, total
from stl_algebra.errors import NoCandidate, TooLarge
from stl_algebra.families.orbits.invariant import algorithms_of, refine_invariant
from stl_algebra.families.orbits.multisets import draw_early
from stl_algebra.families.orbits.orbit_types import OrbitType, orbit_types
from stl_algebra.families.orbits.symmetry import MODES, Symmetry, draw_representation
from stl_algebra.families.registry import Request, register

#: Pulls of a draw; the last one bounds the factors of algorithms that cannot be exact.
_PULLS = (1e-2, 1e-3, 1e-4)
#: Multiplications that one candidate may take: two or three seconds on one core.
_WORK = 4e9
#: What an iteration takes however small it is, as multiplications.
_OVERHEAD = 5e5
#: Above this the maps of the symmetry and the embedding would take a GB.
_LARGEST_PARAMETERS = 20_000
_LARGEST_EMBEDDING = 2e7
_DRAWS = 8
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
    often. Small problems get several draws, large ones one.
    """
    tile, rank = request.tile, request.rank
    parameters = rank * (tile.x_size + tile.w_size + tile.y_size)
    if parameters > _LARGEST_PARAMETERS:
        raise NoCandidate(
            f"orbits: {tile} at rank {rank} has {parameters} entries, more than {_LARGEST_PARAMETERS}"
        )
    rng = np.random.default_rng([request.seed, rank])
    found: list[BilinearAlgorithm] = []
    left = _WORK
    for _ in range(_DRAWS):
        symmetry, chosen = _drawn(request, rng)
        seed = int(rng.integers(2**31))
        work = _iteration(symmetry, chosen)
        steps = int(np.clip(left / work / len(_PULLS), 8, 40))
        if len(_PULLS) * steps * work > left:
            continue
        starts = int(np.clip(_WORK / (_DRAWS * len(_PULLS) * steps * work), 1, 4))
        schedule = [(pull, steps) for pull in _PULLS]
        fit = refine_invariant(symmetry, chosen, starts=starts, seed=seed, schedule=schedule)
        left -= len(_PULLS) * steps * starts * work
        found += algorithms_of(fit, symmetry, chosen)[:1]
        if nmse(found[-1]) < _NEARLY_EXACT:
            start = [f[fit.best()] for f in fit.factors]
            exact = refine_invariant(symmetry, chosen, schedule=((0.0, 4 * steps),), factors=start)
            left -= int(exact.iterations.sum()) * work
            found += algorithms_of(exact, symmetry, chosen)
            if nmse(found[-1]) < _EXACT_IN_FLOATS:
                break
    if not found:
        raise NoCandidate(f"orbits: {tile} at rank {rank} takes too long with the symmetries that were drawn")
    return min(found, key=lambda algorithm: total(algorithm, "bf16"))


def _iteration(symmetry: Symmetry, chosen: list[OrbitType]) -> float:
    """Multiplications of one Levenberg-Marquardt iteration and start, infinite where memory is short."""
    side, rank = sum(symmetry.action.sides), sum(o.size for o in chosen)
    unknowns = sum(o.basis.shape[1] for o in chosen)
    if side * rank * unknowns > _LARGEST_EMBEDDING:
        return np.inf
    return float(_OVERHEAD + len(chosen) * side * unknowns * (unknowns + 3 * rank) + unknowns**3 / 3)


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
