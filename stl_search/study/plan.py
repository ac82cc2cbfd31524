"""What a run is about, and its plan: entry i is a function of the settings and i alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.algorithms.tile import TileFormat, check_rank
from stl_algebra.errors import InvalidInput
from stl_algebra.families import FAMILIES, family
from stl_algebra.groups.isomorphism import one_of_each_type
from stl_search.trials.trial import Entry


@dataclass(frozen=True)
class Settings:
    """What a run is about; stored with the study, and the same when it is continued.

    Attributes:
        groups: names; families that use a group get each of them.
        tile: format. rank: products. dtype: of the total. seed: of the plan.
        families: registered names.
    """

    groups: tuple[str, ...]
    tile: str
    rank: int
    dtype: str
    seed: int
    families: tuple[str, ...]

    def checked(self) -> Settings:
        """The settings with canonical spellings, and of isomorphic groups the first one only.

        Raises:
            InvalidInput: any of them is malformed, or no family can run on them.
        """
        tile = TileFormat.parse(self.tile)
        check_rank(self.rank, tile)
        rounding_constant(self.dtype)
        for name in self.families:
            family(name)
        names, _ = one_of_each_type(self.groups)
        settings = replace(self, tile=tile.slug, groups=tuple(names))
        if not settings.arms():
            raise InvalidInput("group", expected="at least one group for the families chosen", got="none")
        return settings

    def arms(self) -> list[tuple[str, str]]:
        """(family, group) pairs that the plan goes round, structured ones first."""
        arms = [(f, g) for f in self.families if FAMILIES[f].uses_group for g in self.groups]
        arms += [(f, "") for f in self.families if not FAMILIES[f].uses_group]
        return arms

    def entry(self, index: int) -> Entry:
        """Entry `index` of the plan: arms in turn, a new seed each."""
        arms = self.arms()
        name, group = arms[index % len(arms)]
        seed = int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])
        return Entry(self.tile, self.rank, self.dtype, name, group, seed)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """Inverse of `dataclasses.asdict` after a trip through JSON, which turns tuples to lists."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)

    def digest(self) -> str:
        """Identity of the settings."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
