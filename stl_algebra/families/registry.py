"""The registry of candidate families and the one signature they share.

A family is a function from a `Request` to a bilinear algorithm of the requested format whose rank is at
least the requested one; the caller reduces it (`error.truncate`, or the search's pruning). The same
request gives the same algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat, check_rank
from stl_algebra.errors import InvalidInput, NoCandidate
from stl_algebra.groups.group import FiniteGroup


@dataclass(frozen=True)
class Request:
    """What a family is asked for.

    Attributes:
        tile: the format.
        rank: products that the finished algorithm may have; the candidate may have more.
        group: the group to use; None for families that use none.
        seed: different seeds give different candidates where the family has a choice.
    """

    tile: TileFormat
    rank: int
    group: FiniteGroup | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_rank(self.rank, self.tile)


@dataclass(frozen=True)
class Family:
    """A registered family: its name, whether it uses a group, one line about it, and the function."""

    name: str
    uses_group: bool
    summary: str
    propose: Callable[[Request], BilinearAlgorithm]


FAMILIES: dict[str, Family] = {}


def register(
    name: str, *, uses_group: bool, summary: str
) -> Callable[[Callable[[Request], BilinearAlgorithm]], Callable[[Request], BilinearAlgorithm]]:
    """Decorator that adds a family under `name`; what it returns is checked against the contract."""

    def add(propose: Callable[[Request], BilinearAlgorithm]) -> Callable[[Request], BilinearAlgorithm]:
        def checked(request: Request) -> BilinearAlgorithm:
            if uses_group and request.group is None:
                raise InvalidInput("group", expected=f"a group for the family {name}", got="none")
            algorithm = propose(request)
            assert algorithm.tile == request.tile, f"family {name} returned format {algorithm.tile}"
            if algorithm.rank < request.rank:
                raise NoCandidate(
                    f"family {name} has at most {algorithm.rank} products here, fewer than the rank "
                    f"{request.rank} asked for"
                )
            return algorithm

        assert name not in FAMILIES, name
        FAMILIES[name] = Family(name, uses_group, summary, checked)
        return propose

    return add


def family(name: str) -> Family:
    """The registered family.

    Raises:
        InvalidInput: unknown name; lists the valid ones.
    """
    if name not in FAMILIES:
        raise InvalidInput("family", expected=f"one of {', '.join(sorted(FAMILIES))}", got=repr(name))
    return FAMILIES[name]
