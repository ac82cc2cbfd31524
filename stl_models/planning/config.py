"""What a user asks of a conversion: one frozen, versioned value that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.precision import precision
from stl_kernels.layers.row_groups import ROW_GROUPINGS
from stl_models.recipes import RECIPES, get_recipe

#: Version of the JSON form; a newer one is refused.
CONFIG_VERSION = 1

DEFAULT_RECIPES = ("exact", "pivoted-low-rank", "shared-input", "neurons", "value-basis")
SENSITIVITIES = ("auto", "kfac", "one-at-a-time", "error")
OBJECTIVES = ("auto", "logits", "hidden", "pooled")
REPAIRS = ("held-out", "always", "never")
TILES = ("always", "where-faster", "never")
#: Of exact tiles: of longer ones the algorithm alone takes minutes to make and check.
LARGEST_SIDE = 8


@dataclass(frozen=True)
class Override:
    """What to do differently for layers whose name matches; the first match wins.

    Attributes:
        pattern: a shell pattern of layer names.
        recipes: allowed for these layers; empty leaves them as they are.
    """

    pattern: str
    recipes: tuple[str, ...]


@dataclass(frozen=True)
class ConversionConfig:
    """How to convert a model.

    Attributes:
        ratio: core multiplications of the dense layers over those of the converted ones, summed over all
            layers that are converted; None where another target is given.
        loss: the target is instead the smallest cost whose predicted loss is at most this share of the loss
            of taking every layer away.
        seconds: the target is instead this predicted time of the converted layers on `device`.
        recipes: names of the recipes that the allocation may choose from.
        skip: shell patterns of layer names to leave alone.
        overrides: per pattern; the first match wins.
        outside_blocks: convert layers outside the blocks (heads, poolers) too.
        tile: format of the exact tiles, "" for dense products only. Larger ones save more in the core and
            cost more around it.
        tiles: "always", "where-faster" on `device`, or "never".
        encoders: path of an encoders file for the recipe `tiles`, "" for none.
        row_grouping: which rows share a tile; "batch" keeps causal models causal.
        dtype: a folder's model is read in it, "" for its own; a model in memory has to have it already, but
            for a plan's times.
        sensitivity: "kfac" (gradients), "one-at-a-time" (each layer converted alone and measured), "error"
            (the relative error of each layer; a poor guide), or "auto": kfac for models that predict tokens,
            else one at a time.
        objective: what the sensitivity protects: "logits", "hidden" states, "pooled" states, or "auto".
        sensitivity_rows: tokens for the sensitivity.
        repair: sequential repair kept per block where it lowers the error on held-out rows, always, or never.
        held_out: share of the calibration batches that repair is judged on.
        distillation: gradient steps towards the dense model at the end, at most; 0 for none. The whole model
            and its dense form are in memory then.
        device: whose roofline the plan predicts: "cpu", "cuda", or a GPU in the table.
        batch, length: the user's batch and sequence length, for predicted times.
        seed: of everything that is drawn.

    Raises:
        InvalidInput: a value is out of range, or not exactly one target is given.
    """

    ratio: float | None = 2.0
    loss: float | None = None
    seconds: float | None = None
    recipes: tuple[str, ...] = DEFAULT_RECIPES
    skip: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    outside_blocks: bool = False
    tile: str = "4x4x4"
    tiles: str = "always"
    encoders: str = ""
    row_grouping: str = "batch"
    dtype: str = ""
    sensitivity: str = "auto"
    objective: str = "auto"
    sensitivity_rows: int = 2048
    repair: str = "held-out"
    held_out: float = 0.125
    distillation: int = 0
    device: str = "cpu"
    batch: int = 32
    length: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        targets = {"ratio": self.ratio, "loss": self.loss, "seconds": self.seconds}
        given = {name: value for name, value in targets.items() if value is not None}
        if len(given) != 1:
            raise InvalidInput(
                "target", expected="exactly one of ratio, loss and seconds", got=f"{list(given) or 'none'}"
            )
        for name, value in given.items():
            least = 1.0 if name == "ratio" else 0.0
            if not math.isfinite(value) or value < least:
                raise InvalidInput(name, expected=f"a number of at least {least:g}", got=value)
        for name, word, valid in (
            ("sensitivity", self.sensitivity, SENSITIVITIES),
            ("objective", self.objective, OBJECTIVES),
            ("repair", self.repair, REPAIRS),
            ("tiles", self.tiles, TILES),
            ("row_grouping", self.row_grouping, ROW_GROUPINGS),
        ):
            if word not in valid:
                raise InvalidInput(name, expected=f"one of {', '.join(valid)}", got=repr(word))
        for recipe in (*self.recipes, *(r for o in self.overrides for r in o.recipes)):
            get_recipe(recipe)
        if not self.recipes:
            raise InvalidInput("recipes", expected=f"some of {', '.join(RECIPES)}", got="none")
        for name, count in (
            ("sensitivity_rows", self.sensitivity_rows),
            ("batch", self.batch),
            ("length", self.length),
        ):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise InvalidInput(name, expected="a positive integer", got=count)
        steps = self.distillation
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise InvalidInput("distillation", expected="a number of steps of at least 0", got=steps)
        if not 0 <= self.held_out < 1:
            raise InvalidInput("held_out", expected="a share from 0 to below 1", got=self.held_out)
        if self.tile:
            tile = TileFormat.parse(self.tile)
            if max(tile.n, tile.k, tile.m) > LARGEST_SIDE:
                raise InvalidInput("tile", expected=f"sides of at most {LARGEST_SIDE}", got=self.tile)
        if self.dtype:
            object.__setattr__(self, "dtype", precision(self.dtype).stored)

    def with_changes(self, **changes: Any) -> ConversionConfig:
        """The same with some fields changed; a new target replaces the old one."""
        targets = {"ratio", "loss", "seconds"} & set(changes)
        if targets:
            changes = {**dict.fromkeys(("ratio", "loss", "seconds")), **changes}
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads."""
        return {"version": CONFIG_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ConversionConfig:
        """Inverse of `as_json`.

        Raises:
            InvalidInput: made by a newer version, an unknown field, or a value is out of range.
        """
        values = dict(data)
        version = values.pop("version", CONFIG_VERSION)
        if not isinstance(version, int) or version > CONFIG_VERSION:
            raise InvalidInput(
                "conversion config",
                expected=f"version {CONFIG_VERSION} or older",
                got=f"version {version}",
                hint="upgrade stl-algebra to read it",
            )
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise InvalidInput("conversion config", expected=f"fields {', '.join(known)}", got=name)
        for name in ("recipes", "skip"):
            if name in values:
                values[name] = tuple(values[name])
        if "overrides" in values:
            values["overrides"] = tuple(
                o if isinstance(o, Override) else Override(o["pattern"], tuple(o["recipes"]))
                for o in values["overrides"]
            )
        return cls(**values)
