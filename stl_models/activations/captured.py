"""What a capture holds: which layers have rows enough, their tensors as stored, what to say of them.

What does not belong here: running the model (`recording`), options and the file (`activations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_kernels.layers.dense import read_dense
from stl_models.activations.recording import Group

#: Below this many rows second moments are not settled: methods fitted to them look worse than they are.
SETTLED = 4096
#: Share of a row's or a column's norm that rounding may take before a wider dtype is used.
_ROUNDING = 2.0**-10
#: Rows and columns of less than this share of the root mean square norm do not count in that.
_NEGLIGIBLE = 1e-4


@dataclass(frozen=True)
class CapturedLayer:
    """One layer of a capture.

    Attributes:
        name: of the module.
        inner, outer: K and M.
        rows: test rows, and as many calibration rows, in the file.
        moment_rows: that mean and covariance are from.
        calls: per window.
        dtypes: of x, calibration and w as stored.
        notes: other names of the module or of its weight, whose moments it shares, too few rows for moments.
    """

    name: str
    inner: int
    outer: int
    rows: int
    moment_rows: int
    calls: float
    dtypes: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Captured:
    """What a capture ended with.

    Attributes:
        path: the file.
        layers: that it holds.
        skipped: name -> why a layer that was asked for is left out.
    """

    path: Path
    layers: tuple[CapturedLayer, ...]
    skipped: dict[str, str]


@dataclass
class Gathered:
    """A capture before it is written.

    Attributes:
        layers: in the model's order.
        tensors: of the file.
        moments_of: layer -> the layer under whose name its moments are.
        skipped: layer -> why it is left out.
    """

    layers: list[CapturedLayer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    moments_of: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def gather(
    model: nn.Module, chosen: Mapping[str, nn.Module], groups: list[Group], rows: int, windows: int
) -> Gathered:
    """The recorded layers that have `rows` rows of each kind, as they are stored."""
    out = Gathered()
    of = {name: group for group in groups for name in group.names}
    leaders: dict[int, str] = {}
    aliases = _aliases(model)
    for name, module in chosen.items():
        group = of.get(name)
        if group is None:
            out.skipped[name] = "the model does not call it"
            continue
        trouble = _trouble(group, rows, windows)
        if not trouble and id(group) not in leaders:
            try:
                packed = group.moments.value().packed()
            except InvalidInput as error:
                trouble = str(error)
            else:
                leaders[id(group)] = name
                out.tensors.update({f"{name}.{k}": torch.from_numpy(v) for k, v in packed.items()})
        if trouble:
            out.skipped[name] = trouble
            continue
        leader = out.moments_of[name] = leaders[id(group)]
        notes = list(aliases.get(name, ()))
        if leader != name:
            notes.append(f"reads the same input as {leader}")
        if group.moments.count < SETTLED:
            notes.append(f"moments from fewer than {SETTLED} rows: a longer text has more")
        layer = _stored(name, module, group, out.tensors, windows)
        out.layers.append(replace(layer, notes=tuple(notes)))
    return out


def _stored(
    name: str, module: nn.Module, group: Group, tensors: dict[str, Tensor], windows: int
) -> CapturedLayer:
    weight = read_dense(module, name).weight.t()
    assert group.test.rows is not None
    assert group.calibration.rows is not None
    parts = {"x": group.test.rows, "calibration": group.calibration.rows, "w": weight}
    stored = {key: stored_as(value) for key, value in parts.items()}
    tensors.update({f"{name}.{key}": value for key, value in stored.items()})
    dtypes = tuple(str(value.dtype).removeprefix("torch.") for value in stored.values())
    inner, outer = weight.shape
    return CapturedLayer(
        name, inner, outer, len(stored["x"]), group.moments.count, group.calls / windows, dtypes
    )


def _trouble(group: Group, rows: int, windows: int) -> str:
    """Why a layer's rows do not do, "" if they do."""
    if group.trouble:
        return group.trouble
    least = min(group.test.seen, group.calibration.seen)
    if least < rows:
        often = " (called once a window)" if group.calls == windows and group.test.seen <= windows else ""
        return (
            f"{group.test.seen} test and {group.calibration.seen} calibration rows{often}, {rows} asked for"
        )
    for sample in (group.test.rows, group.calibration.rows):
        assert sample is not None
        if not bool(sample.any()):
            return "its input is zero everywhere"
    return ""


def stored_as(values: Tensor) -> Tensor:
    """The values as float16 where it holds them, else as bfloat16, else as float32.

    Held are values that stay finite, and whose rows and columns each change by at most 2^-10 of their norm;
    rows and columns that are 1e4 times smaller than the others do not count.
    """
    wide = values.detach().to(torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        narrow = wide.to(dtype)
        if bool(torch.isfinite(narrow).all()) and _holds(wide.double(), narrow.double()):
            return narrow.contiguous()
    return wide.contiguous()


def _holds(wide: Tensor, narrow: Tensor) -> bool:
    for axis in (0, 1):
        norm = wide.norm(dim=axis)
        counts = norm > _NEGLIGIBLE * norm.square().mean().sqrt()
        if bool(((narrow - wide).norm(dim=axis) > _ROUNDING * norm)[counts].any()):
            return False
    return True


def _aliases(model: nn.Module) -> dict[str, list[str]]:
    """Module name -> notes on other names of the module, and on other modules that hold its weight."""
    modules: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        modules.setdefault(id(module), []).append(name)
    weights: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        weights.setdefault(id(parameter), []).append(name)
    notes: dict[str, list[str]] = {}
    for names in modules.values():
        if len(names) > 1:
            notes[names[0]] = [f"the same module as {', '.join(names[1:])}"]
    for names in weights.values():
        owners = [n.removesuffix(".weight") for n in names if n.endswith(".weight")]
        for owner in owners:
            # Names of one shared module are no ties.
            others = [o for o in owners if o != owner and not _same_module(model, owner, o)]
            if others:
                notes.setdefault(owner, []).append(f"its weight is tied to {', '.join(others)}")
    return notes


def _same_module(model: nn.Module, one: str, other: str) -> bool:
    return model.get_submodule(one) is model.get_submodule(other)
