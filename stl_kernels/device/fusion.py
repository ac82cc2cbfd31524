"""Whether core and decode run as one kernel: a pure function of the call and of what was measured.

An order is obeyed; without one, what was measured for the call on this device decides, else two kernels run.
On an H100 two kernels are faster for each of 41 shapes at four ranks (results/gpu/one-kernel.json): one holds
every entry of its output tiles in registers, so its blocks are small and it reads the encoded operands too
often, which the memory traffic that it saves does not make up for.

What does not belong here: measuring and remembering (`autotune`), the roofline of both ways (`step_times`).
"""

from __future__ import annotations

from dataclasses import dataclass

#: What a measurement says, as `autotune` keeps it.
FUSED, TWO_KERNELS = "fused", "two kernels"


@dataclass(frozen=True)
class DeviceFacts:
    """What the choice of kernels depends on besides the call.

    Attributes:
        model: as the driver names the GPU; "" where there is none.
        interpreted: Triton runs its kernels in Python, whose times mean nothing.
    """

    model: str = ""
    interpreted: bool = False


def fuses(asked: bool | None, measured: str | None) -> bool:
    """Whether to run core and decode as one kernel.

    Args:
        asked: what the call orders; None leaves it open.
        measured: `FUSED` or `TWO_KERNELS` where this call was measured on this device.
    """
    return measured == FUSED if asked is None else asked
