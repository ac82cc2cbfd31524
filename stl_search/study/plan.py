"""What a run is about, and its plan: entry i is a function of the settings and i alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from stl_algebra.algorithms.profile import Profile
from stl_algebra.algorithms.tile import TileFormat, as_tile, check_rank
from stl_algebra.errors import InvalidInput
from stl_algebra.families import FAMILIES, family
from stl_algebra.groups.isomorphism import one_of_each_type
from stl_algebra.precision import precision
from stl_search.trials.trial import Entry


@dataclass(frozen=True, init=False)
class Settings:
    """What a run is about; stored with the study, and the same when it is continued.

    Checked when it is made; spellings become values, and of isomorphic groups the first one stays.

    Attributes:
        groups: canonical names; families that use a group get each of them.
        tile: format. rank: products. dtype: of the total. seed: of the plan.
        families: registered names.
        profile: of the tiles to fit to, or its spelling; None for white tiles.

    Raises:
        InvalidInput: any of them is malformed, or no family can run on them.
    """

    groups: tuple[str, ...]
    tile: TileFormat
    rank: int
    dtype: str
    seed: int
    families: tuple[str, ...]
    profile: Profile | None

    def __init__(
        self,
        groups: Sequence[str],
        tile: TileFormat | str,
        rank: int,
        dtype: str = "bf16",
        seed: int = 0,
        families: Sequence[str] = (),
        profile: Profile | str | None = None,
    ) -> None:
        tile = as_tile(tile)
        if isinstance(profile, str):
            profile = Profile.parse(profile, tile.k)
        if profile is not None:
            profile.colour(tile)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InvalidInput("seed", expected="a number of at least 0", got=seed)
        # Without a choice, all that can run: those that use a group, or a profile, only where there is one,
        # and none that begins with what was published.
        chosen = tuple(families) or tuple(
            name
            for name, known in FAMILIES.items()
            if (groups or not known.uses_group)
            and (profile or not known.for_profiles)
            and not known.when_named
        )
        for name in chosen:
            family(name)
        values = {
            "groups": tuple(one_of_each_type(tuple(groups))[0]),
            "tile": tile,
            "rank": check_rank(rank, tile),
            "dtype": precision(dtype).name,
            "seed": seed,
            "families": chosen,
            "profile": profile,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not self.arms():
            raise InvalidInput("group", expected="at least one group for the families chosen", got="none")

    def arms(self) -> list[tuple[str, str]]:
        """(family, group) pairs that the plan goes round, structured ones first."""
        arms = [(f, g) for f in self.families if FAMILIES[f].uses_group for g in self.groups]
        arms += [(f, "") for f in self.families if not FAMILIES[f].uses_group]
        return arms

    def entry(self, index: int) -> Entry:
        """Entry `index` of the plan: arms in turn, a new seed each."""
        name, group = self.arm(index)
        seed = int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])
        return Entry(self.tile, self.rank, self.dtype, name, group, seed, self.profile)

    def arm(self, index: int) -> tuple[str, str]:
        """(family, group) of an entry."""
        arms = self.arms()
        return arms[index % len(arms)]

    def as_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads."""
        profile = {} if self.profile is None else {"profile": ",".join(map(repr, self.profile.shares))}
        return {
            "groups": list(self.groups),
            "tile": self.tile.slug,
            "rank": self.rank,
            "dtype": self.dtype,
            "seed": self.seed,
            "families": list(self.families),
            **profile,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Inverse of `as_json`.

        Raises:
            InvalidInput: a value is malformed.
            TypeError: keys are missing or unknown.
        """
        return cls(**data)

    def changed(self, other: Settings) -> str:
        """The values of these settings that `other` has differently, in words."""
        mine, theirs = ({"profile": "white", **s.as_json()} for s in (self, other))
        return ", ".join(f"{k} = {mine[k]!r}" for k in mine if mine[k] != theirs[k])

    def digest(self) -> str:
        """Identity of the settings."""
        return sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]
