"""The state of a run in one safetensors file: weights, their average, the optimiser's numbers, the step.

Nothing is pickled. What is random in a step follows from the seed and the step's number (`loop`), so there is
no state of generators to keep, and a run that goes on from a file comes out bit for bit as one that never
stopped, where the arithmetic itself does so (processors; not every operation of a GPU).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.files import write_atomically

#: Of the file's layout; another one is refused.
CHECKPOINT_VERSION = 1


def write_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    state: Mapping[str, Any],
) -> Path:
    """Write all of it, or leave the file that was there.

    Args:
        path: the file.
        modules: name to module whose state is kept.
        optimiser: with tensors and numbers as its state, as torch's optimisers have.
        state: values that JSON holds.

    Raises:
        Unavailable: it cannot be written, for instance because the disk is full.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            # Layers that share factors give them twice, and the format refuses memory that is shared.
            tensors[f"{name}.{key}"] = value.detach().to("cpu", copy=True).contiguous()
    plain: dict[str, dict[str, Any]] = {}
    for place, values in optimiser.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{place}.{key}"] = value.detach().to("cpu", copy=True).contiguous()
            elif value is not None:
                plain.setdefault(str(place), {})[key] = value
    header = {"version": CHECKPOINT_VERSION, "state": dict(state), "optimiser": plain}
    try:
        return write_atomically(path, save(tensors, {"run": json.dumps(header)}))
    except Unavailable as error:
        raise Unavailable(f"checkpoint: {error}; the last one before it is kept") from error


def read_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """Put a checkpoint's numbers into modules and optimiser; returns its state.

    Raises:
        InvalidInput: it is no checkpoint, or one of other modules.
        Unavailable: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("run", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise Unavailable(f"cannot read the checkpoint {path}: {error}") from error
    if header.get("version") != CHECKPOINT_VERSION:
        got = f"version {header.get('version')}"
        raise InvalidInput("checkpoint", expected=f"version {CHECKPOINT_VERSION}", got=got)
    for name, module in modules.items():
        found = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        try:
            module.load_state_dict(found)
        except RuntimeError as error:
            raise InvalidInput("checkpoint", expected="one of this model", got=str(error)) from error
    values: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in header["optimiser"].items()}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, place, entry = key.split(".", 2)
            values.setdefault(int(place), {})[entry] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": values, "param_groups": groups})
    state: dict[str, Any] = header["state"]
    return state
