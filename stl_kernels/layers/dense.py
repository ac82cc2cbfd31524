"""Reading the dense layer that an STL layer stands in for: weight, bias, and what must be refused in words.

Structure decides, not a list of classes: a linear layer has a two-axis floating weight and says its sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_kernels.contract import checks


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense layer's numbers.

    Attributes:
        weight: (M, K), detached; a view of the layer's own.
        bias: (M,) or None.
        trains: whether the weight asks for gradients. bias_trains: whether the bias does.
    """

    weight: Tensor
    bias: Tensor | None
    trains: bool
    bias_trains: bool


def is_dense(module: nn.Module) -> bool:
    """Whether `read_dense` takes it: nn.Linear, or a layer that stores (K, M) with output size nf."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or isinstance(weight, nn.parameter.UninitializedParameter):
        return False
    if weight.dim() != 2 or not weight.is_floating_point():
        return False
    return isinstance(module, nn.Linear) or getattr(module, "nf", None) == weight.shape[1]


def read_dense(module: nn.Module, name: str = "linear") -> Dense:
    """Weight and bias of a linear layer, checked.

    Args:
        module: an nn.Linear, or a transposed one such as transformers' Conv1D, which stores (K, M).
        name: of the argument, for messages.

    Raises:
        InvalidInput: another kind of layer; one that has not been initialised (lazy), is quantised, is on the
            meta device, or holds NaN or an infinity.
    """
    weight = getattr(module, "weight", None)
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise InvalidInput(
            name, expected="a layer with weights", got=f"{type(module).__name__}, not yet initialised",
            hint="run the model once, so that its lazy layers get their sizes",
        )  # fmt: skip
    if isinstance(weight, Tensor) and (not weight.is_floating_point() or hasattr(weight, "quant_state")):
        raise InvalidInput(
            name, expected="floating-point weights", got=f"{type(module).__name__} in {weight.dtype}",
            hint="a quantised layer must be dequantised before it is converted",
        )  # fmt: skip
    if not is_dense(module):
        raise InvalidInput(name, expected="a torch.nn.Linear", got=type(module).__name__)
    assert isinstance(weight, Tensor)
    bias = getattr(module, "bias", None)
    checks.require_finite(**{f"{name}.weight": weight, f"{name}.bias": bias})
    across = weight if isinstance(module, nn.Linear) else weight.t()
    return Dense(
        across.detach(),
        None if bias is None else bias.detach(),
        weight.requires_grad,
        bias is not None and bias.requires_grad,
    )


def sizes_of(module: nn.Module) -> tuple[int, int]:
    """(K, M) of a layer that `is_dense`."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    rows, columns = weight.shape
    return (columns, rows) if isinstance(module, nn.Linear) else (rows, columns)
