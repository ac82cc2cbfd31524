"""The registry of candidate families and the one signature they share.

A family is a function from a `Request` to a bilinear algorithm of the requested format whose rank is at
least the requested one; the caller reduces it (`fit.truncate`, or the search's pruning). The same
request gives the same algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from importlib import import_module

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat, as_tile, check_rank
from stl_algebra.errors import InvalidInput, NoCandidate
from stl_algebra.groups import FiniteGroup, parse_group


@dataclass(frozen=True, init=False)
class Request:
    """What a family is asked for; values are accepted by their spelling.

    Attributes:
        tile: the format.
        rank: products that the finished algorithm may have; the candidate may have more.
        group: the group to use; None for families that use none.
        seed: different seeds give different candidates where the family has a choice.

    Raises:
        InvalidInput: a spelling is wrong, or the rank makes no sense for the format.
    """

    tile: TileFormat
    rank: int
    group: FiniteGroup | None
    seed: int

    def __init__(
        self, tile: TileFormat | str, rank: int, group: FiniteGroup | str | None = None, seed: int = 0
    ) -> None:
        object.__setattr__(self, "tile", as_tile(tile))
        object.__setattr__(self, "rank", check_rank(rank, self.tile))
        object.__setattr__(
            self, "group", parse_group(group) if isinstance(group, str) and group else group or None
        )
        object.__setattr__(self, "seed", seed)


@dataclass(frozen=True)
class Family:
    """A registered family: its name, whether it uses a group, one line about it, and the function.

    One `for_profiles` is worth trying where the features of a tile differ in variance, first the strongest; a
    search on white tiles takes it when it is named. One `when_named` begins with what was published, and no
    search takes it that did not ask for it.
    """

    name: str
    uses_group: bool
    summary: str
    propose: Callable[[Request], BilinearAlgorithm]
    for_profiles: bool = False
    when_named: bool = False


#: Modules that register families, and the names that they register, in the order of every plan.
_MODULES: dict[str, tuple[str, ...]] = {
    "fourier": ("fourier", "fourier-spectral", "fourier-power"),
    "convolutions": ("convolutions",),
    "ungrouped": ("known", "random"),
    "strongest": ("strongest",),
    "dictionary": ("dictionary",),
    "neighbours": ("neighbours",),
    "orbits": ("orbits",),
}


class _Families(Mapping[str, Family]):
    """Name -> family; modules are imported when a family is asked for, because they take seconds.

    Names alone need no import.
    """

    def __init__(self) -> None:
        self._known: dict[str, Family] = {}
        self._loaded = False

    def add(self, entry: Family) -> None:
        """Register."""
        assert entry.name not in self._known, entry.name
        self._known[entry.name] = entry

    def _all(self) -> dict[str, Family]:
        if not self._loaded:
            self._loaded = True
            for module in _MODULES:
                import_module(f"stl_algebra.families.{module}")
            # Somebody may have imported one of them before the others.
            self._known = {name: self._known[name] for name in self}
        return self._known

    def __getitem__(self, name: str) -> Family:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        names = [name for registered in _MODULES.values() for name in registered]
        return iter([*names, *(name for name in self._known if name not in names)])

    def __len__(self) -> int:
        return len(list(iter(self)))


FAMILIES = _Families()


def register(
    name: str, *, uses_group: bool, summary: str, for_profiles: bool = False, when_named: bool = False
) -> Callable[[Callable[[Request], BilinearAlgorithm]], Callable[[Request], BilinearAlgorithm]]:
    """Decorator that adds a family under `name`.

    What it returns is checked against the contract, and family, group and seed are stamped on its provenance.
    """

    def add(propose: Callable[[Request], BilinearAlgorithm]) -> Callable[[Request], BilinearAlgorithm]:
        @wraps(propose)
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
            stamped = replace(
                algorithm.provenance,
                family=name,
                groups=(request.group.name,) if uses_group and request.group is not None else (),
                seed=request.seed,
            )
            return algorithm.renamed(algorithm.name, stamped)

        FAMILIES.add(Family(name, uses_group, summary, checked, for_profiles, when_named))
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
