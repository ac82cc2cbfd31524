"""Checks of single arguments: devices, dtypes and shapes, before any kernel starts.

They read shapes, dtypes and devices, so they hold for fake tensors and cost no device synchronisation.
What needs values is checked once, where a layer is made; only factors on the CPU, a few hundred numbers, are
read in every call (`require_finite_on_cpu`, not for fake tensors).

What does not belong here: which arguments go together (`contract.calls`), the backends' availability
(`stl_kernels.backends`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput

FLOAT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def check_together(**tensors: Tensor | None) -> None:
    """All given tensors are floating point, of the first one's dtype and on its device."""
    first_name, first = "", None
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise InvalidInput(name, expected="a torch tensor", got=type(tensor).__name__)
        if tensor.dtype not in FLOAT_DTYPES:
            raise InvalidInput(
                name,
                expected="dtype float64, float32, float16 or bfloat16",
                got=str(tensor.dtype),
                hint=f"convert with {name}.float()",
            )
        if first is None:
            first_name, first = name, tensor
            continue
        if tensor.dtype != first.dtype:
            raise InvalidInput(
                name,
                expected=f"the dtype of {first_name}, {first.dtype}",
                got=str(tensor.dtype),
                hint="convert one of them, or run under torch.autocast",
            )
        if tensor.device != first.device:
            raise InvalidInput(
                name, expected=f"the device of {first_name}, {first.device}", got=str(tensor.device)
            )


def check_matrix(name: str, tensor: Tensor, axes: int = 2) -> None:
    """`tensor` has the given number of axes."""
    if tensor.dim() != axes:
        raise InvalidInput(name, expected=f"{axes} axes", got=f"shape {tuple(tensor.shape)}")


def check_sides(**sides: int) -> None:
    """Tile sides are positive."""
    for name, side in sides.items():
        if side < 1:
            raise InvalidInput(name, expected="a tile side of at least 1", got=side)


def check_permutation(permutation: Tensor | None, length: int, device: torch.device) -> None:
    """Index vector of the right length and kind (its values are not read)."""
    if permutation is None:
        return
    if permutation.dtype != torch.int64:
        raise InvalidInput("permutation", expected="dtype int64", got=str(permutation.dtype))
    if permutation.dim() != 1 or permutation.shape[0] != length:
        raise InvalidInput(
            "permutation", expected=f"shape ({length},)", got=f"shape {tuple(permutation.shape)}"
        )
    if permutation.device != device:
        raise InvalidInput("permutation", expected=f"device {device}", got=str(permutation.device))


def check_bias(bias: Tensor | None, columns: int) -> None:
    """bias (columns,), where there is one."""
    if bias is not None and (bias.dim() != 1 or bias.shape[0] != columns):
        raise InvalidInput("bias", expected=f"shape ({columns},)", got=f"shape {tuple(bias.shape)}")


def require_values(**tensors: Tensor | None) -> None:
    """Raises InvalidInput for the first tensor on the meta device."""
    for name, tensor in tensors.items():
        if tensor is not None and tensor.is_meta:
            raise InvalidInput(
                name,
                expected="a tensor with values",
                got="one on the meta device",
                hint="load the weights first (module.to_empty(device=...), then load_state_dict)",
            )


def require_finite(**tensors: Tensor | None) -> None:
    """Raises InvalidInput for the first tensor without values (meta) or with NaN or an infinity.

    Reads the values: on a GPU it waits for all work before it.
    """
    require_values(**tensors)
    for name, tensor in tensors.items():
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise InvalidInput(name, expected="finite entries", got="NaN or an infinity")


def require_finite_on_cpu(**factors: Tensor) -> None:
    """`require_finite` for the factors that are on the CPU.

    They are a few hundred numbers. On a GPU reading them would stall the device in every call: there NaN in a
    factor passes into the result, and the check is the one that `STLFactors` makes once, where it is built.
    """
    require_finite(**{name: factor for name, factor in factors.items() if factor.device.type == "cpu"})
