"""When the operator pays: times of encode, core, decode and of the dense product from a device's peaks.

With measured peaks each step's time is read off the curve that was measured for it; with a data sheet it is
the larger of its arithmetic and its memory time (theory notes, section 1), plus a launch. No product is
faster than its memory traffic. Ignored: tails, clock changes, ranks' effect on a product's rate.

What does not belong here: devices' figures (`stl_kernels.peaks`), measuring (`stl_kernels.peak_measurement`).
"""

from __future__ import annotations

from dataclasses import dataclass

from stl_algebra.errors import InvalidInput
from stl_kernels.functional import Encoders, as_algorithm, check_tiling
from stl_kernels.peaks import Peaks, common_gpus, load_peaks, seconds_on
from stl_kernels.tiles import ceil_div

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Prediction:
    """Seconds of each step; `speedup` is dense over the sum of the three."""

    encode: float
    core: float
    decode: float
    dense: float
    source: str

    @property
    def total(self) -> float:
        """Seconds of the whole layer call, encoded weights ready."""
        return self.encode + self.core + self.decode

    @property
    def speedup(self) -> float:
        """How many times as fast as the dense product."""
        return self.dense / self.total

    @property
    def verdict(self) -> str:
        """One line for a user."""
        if self.speedup <= 1:
            return f"slower than dense ({self.speedup:.2f}x)"
        return f"{self.speedup:.2f}x as fast as dense"


def resolve_peaks(device: Peaks | str) -> Peaks:
    """Peaks as given, of a GPU in the table, or measured on this machine ("cpu", "cuda").

    Raises:
        InvalidInput: no such device, or its peaks were not measured.
    """
    if isinstance(device, Peaks):
        return device
    if device in ("cpu", "cuda"):
        return load_peaks(device)
    table = common_gpus()
    if device not in table:
        names = ", ".join(table)
        raise InvalidInput("device", expected=f"Peaks, cpu, cuda or one of {names}", got=repr(device))
    return table[device]


def predict(
    shape: tuple[int, int, int],
    encoders: Encoders,
    dtype: str = "bfloat16",
    device: Peaks | str = "H200",
    *,
    tiling: str = "consecutive",
) -> Prediction:
    """Predict one call on X (N, K) times W (K, M), activations' encode and decode included.

    Args:
        shape: (N, K, M).
        encoders: the algorithm.
        dtype: "float32", "float16" or "bfloat16".
        device: "cpu" or "cuda" for the peaks measured on this machine, a name in the table of common GPUs
            (data-sheet rates: an upper bound for real hardware), or peaks.
        tiling: "consecutive" or "strided"; matters for measured peaks only.

    Raises:
        InvalidInput: unknown device or dtype, peaks that were not measured, or a size below 1.
    """
    peaks = resolve_peaks(device)
    if dtype not in BYTES or dtype not in peaks.flops:
        raise InvalidInput("dtype", expected=f"one of {', '.join(sorted(peaks.flops))}", got=dtype)
    if len(shape) != 3 or min(shape) < 1:
        raise InvalidInput("shape", expected="(N, K, M), all at least 1", got=shape)
    check_tiling(tiling)
    size, curves = BYTES[dtype], peaks.curves.get(dtype)
    algorithm = as_algorithm(encoders)
    t, r = algorithm.tile, algorithm.rank
    (rows, inner, columns) = shape
    i, l, j = ceil_div(rows, t.n), ceil_div(inner, t.k), ceil_div(columns, t.m)

    def step(name: str, flop: float, numbers: float, count: int = 1) -> float:
        memory = numbers * size / peaks.bandwidth
        if curves is None:
            return max(flop / peaks.flops[dtype], memory) + peaks.launch
        moves = name.startswith(("encode", "decode"))
        work = numbers * size if moves else flop / count
        measured = count * seconds_on(curves[name], work)
        # The measured rate of a moving step holds its memory traffic already.
        return (measured if moves else max(measured, memory)) + peaks.launch

    return Prediction(
        encode=step(f"encode {tiling}", 2 * r * t.x_size * i * l, rows * inner + r * i * l),
        core=step("core", 2 * r * i * l * j, r * (i * l + l * j + i * j), r),
        decode=step(f"decode {tiling}", 2 * r * t.y_size * i * j, rows * columns + r * i * j),
        dense=step("dense", 2 * rows * inner * columns, rows * inner + inner * columns + rows * columns),
        source=peaks.source,
    )
