"""Whether core and decode run as one kernel: a pure function of the call and of facts about the device.

An order is obeyed. Without one, what was measured for the call on this device decides, else the roofline
rule on the device's data sheet; GPUs without a sheet, and Triton's interpreter, run two kernels.

What does not belong here: measuring and remembering (`autotune`), the times behind the rule (`step_times`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stl_kernels.device.peaks import gpu_of_model
from stl_kernels.device.step_times import step_times

#: What a measurement says, as `autotune` keeps it.
FUSED, TWO_KERNELS = "fused", "two kernels"


@dataclass(frozen=True)
class DeviceFacts:
    """What the choice of kernels depends on besides the call.

    Attributes:
        model: as the driver names the GPU; "" where there is none.
        interpreted: Triton runs its kernels in Python, whose times mean nothing.
        full_float32: float32 products are made in full precision, outside the matrix units.
    """

    model: str = ""
    interpreted: bool = False
    full_float32: bool = False


@dataclass(frozen=True)
class Product:
    """Sizes of a layer call: (N, K, M), the tile's sides (n, k, m), the rank, torch's name of the dtype."""

    shape: tuple[int, int, int]
    sides: tuple[int, int, int]
    rank: int
    dtype: str


def fuses(asked: bool | None, measured: str | None, product: Product, facts: DeviceFacts) -> bool:
    """Whether to run core and decode as one kernel.

    Args:
        asked: what the call orders; None leaves it open.
        measured: `FUSED` or `TWO_KERNELS` where this call was measured on this device.
        product: the call's sizes.
        facts: the device's.
    """
    if asked is not None:
        return asked
    if facts.interpreted:
        return False
    if measured is not None:
        return measured == FUSED
    return rule(product, facts)


def rule(product: Product, facts: DeviceFacts) -> bool:
    """The roofline rule on the table's data sheet for this GPU model; False for a model without one."""
    peaks = gpu_of_model(facts.model)
    if peaks is None:
        return False
    if product.dtype == "float32" and facts.full_float32 and peaks.vector is not None:
        peaks = replace(peaks, flops={product.dtype: peaks.vector})
    return step_times(product.shape, product.sides, product.rank, peaks, product.dtype).fusion_pays
