"""Time in proportion to how near an arm is to the best: stride scheduling, the default.

Arms are tried one after the other, as long as the first trials of others have not taken longer than the
leading arm; so a short run on a slow machine is not spent on looking round. Else time goes in proportion to
weights that fall with the distance of an arm's best total from the best of all (stride scheduling,
Waldspurger and Weihl 1995). Arms whose trials are dear get fewer of them, arms far behind still get a little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stl_search.study.strategies.base import Record, register

#: The weight of an arm falls by a factor e with each such part by which its best total is above the best.
_SCALE = 0.05
#: Weights of arms that are far behind, and of those that had no candidate at all.
_LEAST, _NO_CANDIDATE = 0.02, 0.005


@register("stride")
def next_arm(records: Sequence[Record]) -> int:
    """The arm that the next trial belongs to; records are in the order of the first round."""
    tried = [i for i, record in enumerate(records) if record.trials]
    untried = [i for i, record in enumerate(records) if not record.trials]
    finished = [(record.best, i) for i, record in enumerate(records) if record.best is not None]
    best, leader = min(finished, default=(1.0, -1))
    looking = sum(records[i].seconds / records[i].trials for i in tried if i != leader)
    if untried and (leader < 0 or looking <= records[leader].seconds):
        return untried[0]

    def weight(record: Record) -> float:
        if record.best is None:
            # Without a verdict nothing is known against it.
            return 1.0 if record.in_flight == record.trials else _NO_CANDIDATE
        gap = (record.best - best) / max(best, 1e-300)
        return max(math.exp(-gap / _SCALE), _LEAST)

    return min(tried, key=lambda i: (records[i].seconds / weight(records[i]), i))
