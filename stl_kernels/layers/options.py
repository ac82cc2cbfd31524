"""How a layer is to run: one frozen value for the layer, the functional form, a plan and a saved file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_kernels.backends import AUTO, check_name
from stl_kernels.contract.tiles import TILINGS
from stl_kernels.layers.row_groups import ROW_GROUPINGS

#: Version of the JSON form; a newer one is refused.
OPTIONS_VERSION = 1


@dataclass(frozen=True)
class LayerOptions:
    """The options of a layer; plain values, so that they can be compared, hashed and written as JSON.

    Attributes:
        row_grouping: which rows share a tile, "batch", "sequence" or "rows"; see `STLLinear`.
        batch_axis: which leading axis is the batch, for the grouping "batch".
        tiling: "consecutive" tiles of neighbouring features (what the search scores), or "strided", every
            ceil(K/k)-th feature: faster, and a different approximation for data whose features differ.
        permutation: order in which the input features are tiled, each index once; None for their own. Any
            sequence or integer tensor is taken.
        fused: core and decode in one kernel (True; Triton only), in two (False), or as the backend finds
            faster (None: what `STLLinear.tune` measured, else the roofline rule).
        backend: "auto", "reference", "cpu" or "triton".
        trainable_factors: train encode_x and decode as well.

    Raises:
        InvalidInput: a value is out of range.
    """

    row_grouping: str = "batch"
    batch_axis: int = 0
    tiling: str = "consecutive"
    permutation: tuple[int, ...] | None = None
    fused: bool | None = None
    backend: str = AUTO
    trainable_factors: bool = False

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("row_grouping", self.row_grouping, ROW_GROUPINGS),
            ("tiling", self.tiling, TILINGS),
        ):
            if value not in valid:
                raise InvalidInput(name, expected=f"one of {', '.join(valid)}", got=repr(value))
        check_name(self.backend)
        if isinstance(self.batch_axis, bool) or not isinstance(self.batch_axis, int):
            raise InvalidInput("batch_axis", expected="an integer", got=self.batch_axis)
        if self.fused not in (None, True, False):
            raise InvalidInput("fused", expected="True, False or None", got=self.fused)
        if self.permutation is not None:
            object.__setattr__(self, "permutation", _indices(self.permutation))

    @classmethod
    def of(cls, options: LayerOptions | None, changes: Mapping[str, Any]) -> LayerOptions:
        """The options, or the defaults, with some fields changed by keyword.

        Raises:
            InvalidInput: there is no such option.
        """
        if not isinstance(options, (LayerOptions, type(None))):
            raise InvalidInput("options", expected="LayerOptions", got=type(options).__name__)
        known = [field.name for field in fields(cls)]
        for name in changes:
            if name not in known:
                raise InvalidInput(
                    name, expected=f"one of the options {', '.join(known)}", got="another name"
                )
        return replace(options or cls(), **changes)

    @property
    def strided(self) -> bool:
        """Whether tiles take every ceil(K/k)-th feature."""
        return self.tiling == "strided"

    def as_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        permutation = None if self.permutation is None else list(self.permutation)
        return {"version": OPTIONS_VERSION, **values, "permutation": permutation}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerOptions:
        """Inverse of `as_json`.

        Raises:
            InvalidInput: made by a newer version, or a value is out of range.
        """
        values = dict(data)
        version = values.pop("version", OPTIONS_VERSION)
        if not isinstance(version, int) or version > OPTIONS_VERSION:
            raise InvalidInput(
                "layer options",
                expected=f"version {OPTIONS_VERSION} or older",
                got=f"version {version}",
                hint="upgrade stl-algebra to read them",
            )
        return cls.of(None, values)


def _indices(permutation: Any) -> tuple[int, ...]:
    """Each index from 0 to length - 1 once; checked by value."""
    # numpy, because the default device of torch may be one without values.
    if isinstance(permutation, Tensor):
        given = permutation.detach().cpu().numpy()
    else:
        given = np.array(list(permutation))
    if given.dtype.kind not in "iu":
        raise InvalidInput("permutation", expected="integers", got=str(given.dtype))
    if given.ndim != 1 or not np.array_equal(np.sort(given), np.arange(given.size)):
        raise InvalidInput(
            "permutation",
            expected=f"each index from 0 to {given.size - 1} once",
            got=f"shape {given.shape} with other values",
        )
    return tuple(given.tolist())
