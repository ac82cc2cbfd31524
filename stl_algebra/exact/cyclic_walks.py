"""Search for algorithms of <n,n,n> modulo 2 by walks that keep a rotation of the three sides.

What does not belong here: the walks themselves (`cyclic_graph`, `cuda_walks`), how a search is made of them
one after another (`descents`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

import numpy as np

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.cyclic_graph import LARGEST_VECTOR, Invariant, walk
from stl_algebra.exact.descents import SLACK, Descent, search_by_descents

#: Numbers of fixed products, one of each remainder modulo 3: flips change the rank by threes.
_FIXED = (1, 2, 3)
#: Flips of an orbit without a reduction after which one is added: each is three flips of products.
_PLUS_AFTER = 16_667
#: Walks of a batch on a GPU: 384 for each multiprocessor of an H100, whose first caches they fill. As many on
#: any GPU, so that a search finds the same.
_MANY = 50_688
#: Batches without a lower rank after which a descent on a GPU ends.
_BATCHES = 32
#: Of the best of a batch, how many are given.
_SHOWN = 20


def search_invariant(
    side: int,
    *,
    target_rank: int = 0,
    steps: int = 33_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[Descent[Invariant]]:
    """Descent after descent; for ever, see `descents.search_by_descents`.

    Args:
        side: n of <n,n,n>.
        target_rank: nothing lower is looked for.
        steps: flips of an orbit without a lower rank after which a descent ends.
        seed: of the search.
        numbers: of the descents, which seed them; 0, 1, ... when None.

    Raises:
        InvalidInput: the side is below 2, or its matrices have more than 62 entries.
    """
    return search_by_descents(
        _starts(side, target_rank),
        walk,
        target_rank=target_rank,
        steps=steps,
        plus_after=[_PLUS_AFTER],
        seed=seed,
        numbers=numbers,
    )


def search_invariant_on_gpu(
    side: int,
    *,
    target_rank: int = 0,
    steps: int = 2_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[Descent[Invariant]]:
    """The same search on a CUDA GPU, many descents at once; for ever.

    All go on a batch at a time, and what ends begins anew.

    Args:
        side: n of <n,n,n>.
        target_rank: nothing lower is looked for.
        steps: draws of a vector in a batch, of which about half are flips.
        seed: of the search.
        numbers: of the batches, which seed them; 0, 1, ... when None.

    Returns:
        Some of the lowest rank of each batch, under its number.

    Raises:
        InvalidInput: as `search_invariant`.
        Unavailable: there is no GPU that numba can use.
    """
    from stl_algebra.exact.cuda_walks import check_device

    check_device()
    return _batches(_starts(side, target_rank), target_rank, steps, seed, numbers)


def _batches(
    starts: Sequence[Callable[[np.random.Generator], Invariant]],
    target_rank: int,
    steps: int,
    seed: int,
    numbers: Iterable[int] | None,
) -> Iterator[Descent[Invariant]]:
    from stl_algebra.exact.cuda_walks import walk_on_gpu

    reached: list[Invariant] = []
    idle = np.full(_MANY, _BATCHES)
    lowest: int | None = None
    for number in count() if numbers is None else numbers:
        rng = np.random.default_rng([seed, number])
        kinds = rng.integers(len(starts), size=_MANY)
        ended = idle >= _BATCHES
        begun = [starts[kinds[i]](rng) if ended[i] else reached[i] for i in range(_MANY)]
        reached = walk_on_gpu(
            begun,
            steps=steps,
            target_rank=target_rank,
            # Of the draws that are no flips none has a reduction either.
            plus_after=2 * _PLUS_AFTER,
            slack=SLACK,
            seeds=rng.integers(2**31, size=_MANY),
        )
        fell = np.array([new.rank < old.rank for new, old in zip(reached, begun, strict=True)])
        arrived = np.array([new.rank <= target_rank for new in reached])
        idle = np.where(arrived, _BATCHES, np.where(fell | ended, 0, idle + 1))
        best = min(outcome.rank for outcome in reached)
        lowest = best if lowest is None else min(lowest, best)
        for outcome in [outcome for outcome in reached if outcome.rank == best][:_SHOWN]:
            yield Descent(number, outcome, lowest)


def _starts(side: int, target_rank: int) -> list[Callable[[np.random.Generator], Invariant]]:
    """By the number of fixed products: those that lead to the target, where one is given.

    Almost all flips change the rank by threes. The fixed products are the identity in diagonal blocks, as
    equal as can be: for <5,5,5> thirty descents with three other ones ended at 99 or above.
    """
    if side < 2 or side * side > LARGEST_VECTOR:
        raise InvalidInput("tile", expected="<n,n,n> with n from 2 to 7", got=f"n = {side}")
    numbers = [fixed for fixed in _FIXED if fixed <= side]
    leading = [fixed for fixed in numbers if (target_rank - fixed) % 3 == 0]
    return [_always(side, fixed) for fixed in (leading if target_rank and leading else numbers)]


def _always(side: int, fixed: int) -> Callable[[np.random.Generator], Invariant]:
    blocks = np.array_split(1 << (np.arange(side) * (side + 1)), fixed)
    start = Invariant.with_fixed(side, [int(block.sum()) for block in blocks])
    return lambda _: start
