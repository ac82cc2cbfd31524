"""Arms in turn, whatever they cost and bring: the order of the plan itself, the control for the others."""

from __future__ import annotations

from collections.abc import Sequence

from stl_search.study.strategies.base import Record, register


@register("rounds")
def next_arm(records: Sequence[Record]) -> int:
    """The arm with the fewest trials; the first of several."""
    return min(range(len(records)), key=lambda i: (records[i].trials, i))
