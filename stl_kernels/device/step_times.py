"""Seconds of each step of a layer call, and of the dense product, from a device's peaks.

With measured peaks each step's time is read off the curve that was measured for it; with a data sheet it is
the larger of its arithmetic and its memory time (Ailon et al., arXiv 2503.12211, count both), plus a launch.
No product is faster than its memory traffic. Ignored: tails, clock changes, ranks' effect on a product's
rate.

Core and decode in one kernel save writing and reading the r I J products and one launch. They pay with small
blocks of output tiles, as every entry of a tile stays in a register: the encoded operands are read
J / BLOCK_J and I / BLOCK_I times, and the decoding, 2 r n m I J FLOP, runs outside the matrix units. This
roofline is a bound that the kernel does not reach (`device.fusion`); the time of a call is that of two.

What does not belong here: what a user passes (`speed.prediction`), devices' rates (`device.peaks`).
"""

from __future__ import annotations

from dataclasses import dataclass

from stl_algebra.precision import BYTES
from stl_kernels.contract.tiles import ceil_div
from stl_kernels.device.blocks import entries_at_once, fused_blocks
from stl_kernels.device.peaks import Peaks, seconds_on


@dataclass(frozen=True)
class Prediction:
    """Seconds of each step; `speedup` is dense over the whole layer call.

    Attributes:
        encode, core, decode, dense: one kernel each.
        fused: the roofline of core and decode in one kernel; infinite where no rate for it is known.
        source: where the rates come from.
    """

    encode: float
    core: float
    decode: float
    dense: float
    source: str
    fused: float = float("inf")

    @property
    def fusion_pays(self) -> bool:
        """Whether one kernel at its roofline would be faster than two."""
        return self.fused < self.core + self.decode

    @property
    def total(self) -> float:
        """Seconds of the whole layer call, encoded weights ready, in three kernels."""
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


def step_times(
    shape: tuple[int, int, int],
    sides: tuple[int, int, int],
    rank: int,
    peaks: Peaks,
    dtype: str,
    tiling: str = "consecutive",
) -> Prediction:
    """Times for X (N, K) times W (K, M).

    Args:
        shape: (N, K, M).
        sides: (n, k, m) of the tile format.
        rank: r.
        peaks: the device; `peaks.vector` None means that it has no fused kernel.
        dtype: one of `peaks.flops`.
        tiling: matters for measured peaks only.
    """
    (rows, inner, columns), (n, k, m) = shape, sides
    i, l, j = ceil_div(rows, n), ceil_div(inner, k), ceil_div(columns, m)
    size, curves = BYTES[dtype], peaks.curves.get(dtype)

    def memory(numbers: float) -> float:
        return numbers * size / peaks.bandwidth

    def moving(name: str, flop: float, numbers: float) -> float:
        if curves is None:
            return max(flop / peaks.flops[dtype], memory(numbers)) + peaks.launch
        # The measured rate of a moving step holds its memory traffic already.
        return seconds_on(curves[f"{name} {tiling}"], numbers * size) + peaks.launch

    def product(name: str, flop: float, numbers: float, count: int = 1) -> float:
        if curves is None:
            arithmetic = flop / peaks.flops[dtype]
        else:
            arithmetic = count * seconds_on(curves[name], flop / count)
        return max(arithmetic, memory(numbers)) + peaks.launch

    def fused() -> float:
        if peaks.vector is None:
            return float("inf")
        passes = ceil_div(n * m, entries_at_once(n * m))
        decoding = 2 * rank * n * m * i * j / peaks.vector
        arithmetic = passes * 2 * rank * i * l * j / peaks.flops[dtype] + decoding
        read = min(
            i * l * ceil_div(j, block.j) + l * j * ceil_div(i, block.i) for block in fused_blocks(n * m)
        )
        return max(arithmetic, memory(passes * rank * read + rows * columns)) + peaks.launch

    return Prediction(
        encode=moving("encode", 2 * rank * n * k * i * l, rows * inner + rank * i * l),
        core=product("core", 2 * rank * i * l * j, rank * (i * l + l * j + i * j), rank),
        decode=moving("decode", 2 * rank * n * m * i * j, rows * columns + rank * i * j),
        dense=product("dense", 2 * rows * inner * columns, rows * inner + inner * columns + rows * columns),
        source=peaks.source,
        fused=fused(),
    )
