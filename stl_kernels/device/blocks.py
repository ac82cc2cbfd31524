"""Block sizes of the Triton kernels, and which of them a GPU's registers allow; needs no triton.

What does not belong here: launches (`stl_kernels.backends.triton`), which block is fastest (`autotune`).
"""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """What one program of a core kernel makes: i x j output tiles, l inner tiles at a time."""

    i: int
    j: int
    l: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


#: Of the core alone; the first one also serves the interpreter.
CORE_BLOCKS = (
    Block(64, 64, 32, 4, 3),
    Block(128, 128, 64, 8, 3),
    Block(128, 256, 64, 8, 3),
    Block(256, 128, 64, 8, 3),
)
_FUSED_BLOCKS = (
    Block(16, 16, 64, 4, 3),
    Block(32, 32, 64, 4, 3),
    Block(64, 32, 64, 8, 3),
    Block(64, 64, 64, 8, 3),
    Block(128, 64, 32, 8, 3),
)
# float32 accumulators that a thread keeps; it has 255 registers, and the product and the addresses need some.
_ACCUMULATORS = 128
_THREADS_PER_WARP = 32


def power(size: int, largest: int, least: int = 16) -> int:
    """The power of two that covers `size`, from `least` (tl.dot takes 16 or more) to `largest`."""
    return min(max(least, 1 << (size - 1).bit_length()), largest)


def entries_at_once(entries: int) -> int:
    """Accumulators per output tile in the fused kernel, for tiles of `entries` numbers: a power of two.

    Tiles with more take several passes over the products.
    """
    return power(entries, 64, 1)


def fused_blocks(entries: int) -> tuple[Block, ...]:
    """The blocks of core and decode in one that registers allow, for output tiles of `entries` numbers.

    Smallest first; never empty.
    """
    held = entries_at_once(entries)
    return tuple(
        block
        for block in _FUSED_BLOCKS
        if held * block.i * block.j <= _ACCUMULATORS * _THREADS_PER_WARP * block.warps
    )
