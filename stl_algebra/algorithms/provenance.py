"""Where an algorithm comes from: plain text and JSON, carried with its factors and stored in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """Where an algorithm comes from; plain text and JSON values only.

    Attributes:
        family: registered name of the family that made it, "" when unknown.
        groups: names of the groups it was made from.
        seed: seed of the run, None where nothing was random.
        command: the command that made it, "" when made from Python.
        version: version of stl-algebra.
        steps: what was done to it, in order ("prune 49 -> 32", "als 200 sweeps").
        parameters: JSON-serialisable parameters of the family.
    """

    family: str = ""
    groups: tuple[str, ...] = ()
    seed: int | None = None
    command: str = ""
    version: str = ""
    steps: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    def then(self, *steps: str) -> Provenance:
        """The same provenance with further steps appended."""
        return replace(self, steps=(*self.steps, *steps))

    def with_parameters(self, parameters: Mapping[str, Any]) -> Provenance:
        """The same provenance with these parameters added."""
        return replace(self, parameters={**self.parameters, **parameters})

    def as_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads."""
        return {
            "family": self.family,
            "groups": list(self.groups),
            "seed": self.seed,
            "command": self.command,
            "version": self.version,
            "steps": list(self.steps),
            "parameters": dict(self.parameters),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Provenance:
        """Inverse of `as_json`; unknown keys are ignored so that newer files stay readable."""
        return cls(
            family=str(data.get("family", "")),
            groups=tuple(str(g) for g in data.get("groups", ())),
            seed=None if data.get("seed") is None else int(data["seed"]),
            command=str(data.get("command", "")),
            version=str(data.get("version", "")),
            steps=tuple(str(s) for s in data.get("steps", ())),
            parameters=dict(data.get("parameters", {})),
        )

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy cannot be pickled or deep-copied; its dictionary can.
        return Provenance.from_json, (self.as_json(),)
