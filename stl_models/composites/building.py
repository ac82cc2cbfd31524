"""A composite's structure as JSON and back, so that a saved folder needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import InvalidInput
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.options import LayerOptions
from stl_models.composites.composite import (
    Borrowed,
    Composite,
    Masked,
    Scatter,
    Select,
    Sequence,
    Shared,
    Shift,
    Sum,
)


def describe(part: nn.Module) -> dict[str, Any]:
    """The structure as JSON; `build` makes it again, to be filled from a state dict."""
    if isinstance(part, Composite):
        sizes = {"in": part.in_features, "out": part.out_features}
        return {"part": "composite", "recipe": part.recipe, **sizes, "root": describe(part.root)}
    if isinstance(part, STLLinear):
        sizes = {"in": part.in_features, "out": part.out_features, "bias": part.bias is not None}
        options = {**part.options.as_json(), "permutation": None}
        permuted = part.permutation is not None
        return {
            "part": "tiles", **sizes, "tile": part.tile.slug, "rank": part.rank,
            "options": options, "permuted": permuted,
        }  # fmt: skip
    if isinstance(part, nn.Linear):
        sizes = {"in": part.in_features, "out": part.out_features, "bias": part.bias is not None}
        return {"part": "masked" if isinstance(part, Masked) else "dense", **sizes}
    if isinstance(part, (Select, Scatter)):
        name = "select" if isinstance(part, Select) else "scatter"
        return {"part": name, "width": part.width, "count": len(part.index)}
    if isinstance(part, Shift):
        return {"part": "shift", "width": len(part.shift)}
    if isinstance(part, (Sum, Sequence)):
        name = "sum" if isinstance(part, Sum) else "sequence"
        return {"part": name, "parts": [describe(p) for p in part.parts]}
    if isinstance(part, Shared):
        return {"part": "shared", "key": part.key, "readers": part.readers, "of": describe(part.part)}
    if isinstance(part, Borrowed):
        return {"part": "borrowed", "key": part.shared.key, "reader": part.reader}
    raise InvalidInput("part", expected="a part of a composite", got=type(part).__name__)


class Builder:
    """Makes composites from their descriptions, empty, on one device; shared parts meet by their keys.

    Args:
        algorithms: (tile slug, rank) to the algorithm whose factors a state dict will overwrite.
        dtype: of the parameters.
        device: "meta" to fill them later.
    """

    def __init__(
        self,
        algorithms: Mapping[tuple[str, int], BilinearAlgorithm],
        dtype: torch.dtype,
        device: torch.device | str = "meta",
    ) -> None:
        self.algorithms, self.dtype, self.device = algorithms, dtype, device
        self.shared: dict[str, Shared] = {}

    def build(self, data: Mapping[str, Any]) -> nn.Module:
        """The module of a description. An owner of a shared part must come before those that borrow it.

        Raises:
            InvalidInput: not a description, or it names what is not there.
        """
        try:
            return self._build(data)
        except (KeyError, TypeError) as error:
            raise InvalidInput(
                "description", expected="parts as `describe` writes them", got=f"{data!r} ({error!r})"
            ) from error

    def _build(self, data: Mapping[str, Any]) -> nn.Module:
        kind = data["part"]
        if kind == "composite":
            return Composite(self._build(data["root"]), data["in"], data["out"], data["recipe"])
        if kind in ("sum", "sequence"):
            return (Sum if kind == "sum" else Sequence)(*(self._build(p) for p in data["parts"]))
        if kind in ("select", "scatter"):
            index = torch.empty(data["count"], dtype=torch.int64, device=self.device)
            return (Select if kind == "select" else Scatter)(index, data["width"])
        if kind == "shift":
            return Shift(torch.empty(data["width"], dtype=self.dtype, device=self.device))
        if kind == "shared":
            self.shared[data["key"]] = Shared(self._build(data["of"]), data["key"], data["readers"])
            return self.shared[data["key"]]
        if kind == "borrowed":
            return Borrowed(self.shared[data["key"]], data["reader"])
        return self._product(kind, data)

    def _product(self, kind: str, data: Mapping[str, Any]) -> nn.Module:
        place: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        if kind == "tiles":
            permutation = tuple(range(data["in"])) if data["permuted"] else None
            options = LayerOptions.from_json({**data["options"], "permutation": permutation})
            algorithm = self.algorithms[data["tile"], data["rank"]]
            return STLLinear(data["in"], data["out"], algorithm, data["bias"], options=options, **place)
        if kind == "dense":
            return nn.Linear(data["in"], data["out"], data["bias"], **place)
        weight = torch.empty(data["out"], data["in"], **place)
        mask = torch.empty(data["out"], data["in"], dtype=torch.uint8, device=self.device)
        bias = torch.empty(data["out"], **place) if data["bias"] else None
        if kind != "masked":
            raise KeyError(kind)
        return Masked(weight, mask, bias)
