"""When the operator pays: times of encode, core, decode and of the dense product from a device's peaks.

Each step takes the larger of its arithmetic and its memory time (theory notes, section 1), plus a launch. The
prediction ignores caches, tails and clock changes. Nothing is run here; `measure_peaks` is in `benchmarks`.
"""

from __future__ import annotations

from dataclasses import dataclass

from stl_algebra.errors import InvalidInput
from stl_kernels.functional import Encoders, as_algorithm
from stl_kernels.tiles import ceil_div

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Peaks:
    """Peaks of a device: FLOP/s of dense products by dtype, bytes/s of memory, seconds of one launch."""

    device: str
    flops: dict[str, float]
    bandwidth: float
    launch: float
    source: str


_SHEET = "vendor's data sheet, dense rates"
# Nominal rates: real products reach part of them. Measure the machine for a prediction to rely on.
COMMON = {
    "A100": Peaks("A100", {"float32": 156e12, "float16": 312e12, "bfloat16": 312e12}, 2.0e12, 5e-6, _SHEET),
    "H100": Peaks("H100", {"float32": 494e12, "float16": 989e12, "bfloat16": 989e12}, 3.35e12, 5e-6, _SHEET),
    "H200": Peaks("H200", {"float32": 494e12, "float16": 989e12, "bfloat16": 989e12}, 4.8e12, 5e-6, _SHEET),
}


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


def predict(
    shape: tuple[int, int, int], encoders: Encoders, dtype: str = "bfloat16", device: Peaks | str = "H200"
) -> Prediction:
    """Predict one call on X (N, K) times W (K, M), activations' encode and decode included.

    Args:
        shape: (N, K, M).
        encoders: the algorithm.
        dtype: "float32", "float16" or "bfloat16".
        device: measured peaks, or a name in the table of common GPUs.

    Raises:
        InvalidInput: unknown device or dtype, or a size below 1.
    """
    if isinstance(device, str):
        if device not in COMMON:
            raise InvalidInput("device", expected=f"measured Peaks or one of {', '.join(COMMON)}", got=device)
        device = COMMON[device]
    if dtype not in BYTES or dtype not in device.flops:
        raise InvalidInput("dtype", expected=f"one of {', '.join(sorted(device.flops))}", got=dtype)
    if len(shape) != 3 or min(shape) < 1:
        raise InvalidInput("shape", expected="(N, K, M), all at least 1", got=shape)
    peaks, size = device, BYTES[dtype]
    algorithm = as_algorithm(encoders)
    t, r = algorithm.tile, algorithm.rank
    (rows, inner, columns) = shape
    i, l, j = ceil_div(rows, t.n), ceil_div(inner, t.k), ceil_div(columns, t.m)

    def step(flop: float, numbers: float) -> float:
        return max(flop / peaks.flops[dtype], numbers * size / peaks.bandwidth) + peaks.launch

    return Prediction(
        encode=step(2 * r * t.x_size * i * l, rows * inner + r * i * l),
        core=step(2 * r * i * l * j, r * (i * l + l * j + i * j)),
        decode=step(2 * r * t.y_size * i * j, rows * columns + r * i * j),
        dense=step(2 * rows * inner * columns, rows * inner + inner * columns + rows * columns),
        source=peaks.source,
    )
