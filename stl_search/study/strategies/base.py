"""What a strategy is: which arm of the plan the next trial of a run bounded by time belongs to.

An arm is a pair of a family and a group. A strategy is a function of the arms' records alone; what the plan's
entries are and how they are claimed is the queue's. A new strategy is a module here that registers itself,
and its name in `STRATEGIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from stl_algebra.errors import InvalidInput


@dataclass(frozen=True)
class Record:
    """What an arm has cost and brought so far.

    Attributes:
        trials: begun, those in flight too.
        seconds: spent, in flight too.
        best: the least total of its finished trials, None when there is none yet.
        in_flight: trials that have no result yet.
    """

    trials: int = 0
    seconds: float = 0.0
    best: float | None = None
    in_flight: int = 0


#: The records, in the order of the first round, to the number of the arm to be tried.
Strategy = Callable[[Sequence[Record]], int]

#: Each is the module of that name.
STRATEGIES = ("stride", "rounds")
_registered: dict[str, Strategy] = {}


def register(name: str) -> Callable[[Strategy], Strategy]:
    """Decorator: enter a strategy under its name."""

    def add(strategy: Strategy) -> Strategy:
        _registered[name] = strategy
        return strategy

    return add


def strategy(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        InvalidInput: there is none; lists the names.
    """
    if name not in STRATEGIES:
        raise InvalidInput("strategy", expected=f"one of {', '.join(STRATEGIES)}", got=repr(name))
    import_module(f"stl_search.study.strategies.{name}")
    return _registered[name]
