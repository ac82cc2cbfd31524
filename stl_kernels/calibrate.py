"""Measuring a device's peaks: the operator's own steps at several sizes, for the prediction to read off.

What does not belong here: the figures' form and storage (`stl_kernels.peaks`), their use (`roofline`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels import ops
from stl_kernels.peaks import Curve, Peaks, device_name, load_peaks, peaks_file, store_peaks
from stl_kernels.roofline import BYTES
from stl_kernels.timing import interleaved

_RANK, _SIDE = 24, 4
_SIZES = {
    "cpu": ((128, 512, 1024, 2048, 4096), (32, 128, 256, 512, 1024), (512, 2048, 4096), 1 << 26),
    "cuda": ((512, 1024, 2048, 4096, 8192), (128, 256, 512, 1024, 2048), (1024, 4096, 8192), 1 << 28),
}


@torch.no_grad()
def measure_peaks(
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    rounds: int = 11,
    *,
    dense_sizes: Sequence[int] | None = None,
    core_sizes: Sequence[int] | None = None,
    move_sizes: Sequence[int] | None = None,
    copied: int | None = None,
) -> Peaks:
    """Measure dense products, core products (r = 24), encode and decode (<4,4,4>) at several sizes.

    Encode and decode are measured inside the layer op, where they run: a layer with one tile column on the
    other side, less the same core product alone. About half a minute on two CPU cores.

    Args:
        dtype: what to compute in.
        device: "cpu" or "cuda".
        rounds: repetitions; the fastest counts, as other work on the machine only ever adds time.
        dense_sizes, core_sizes, move_sizes: square sizes of the dense products, of one core product, and of
            the matrices that are encoded and decoded (multiples of 4); None for the device's own.
        copied: float32 numbers in the copy that measures the bandwidth.

    Raises:
        InvalidInput: another device or dtype.
        Unavailable: there is no such device here.
    """
    name = str(dtype).removeprefix("torch.")
    if device not in _SIZES:
        raise InvalidInput("device", expected="cpu or cuda", got=repr(device))
    if name not in BYTES:
        raise InvalidInput("dtype", expected=f"one of {', '.join(BYTES)}", got=name)
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("no CUDA device is visible, so nothing was measured")
    place, defaults = torch.device(device), _SIZES[device]

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, device=place).to(dtype)

    bandwidth, launch = _copy_and_launch(copied or defaults[3], place, rounds)
    dense: list[tuple[float, float]] = []
    for size in dense_sizes or defaults[0]:
        x, w = random(size, size), random(size, size)
        run: Callable[[], Tensor] = partial(torch.nn.functional.linear, x, w)
        dense.append((2.0 * size**3, _fastest(run, place, rounds)))
    core: list[tuple[float, float]] = []
    for size in core_sizes or defaults[1]:
        run = _core(random(_RANK, size, size), random(_RANK, size, size))
        core.append((2.0 * size**3, _fastest(run, place, rounds) / _RANK))
    curves: dict[str, Curve] = {"dense": tuple(dense), "core": tuple(core)}
    for tiling in ("strided", "consecutive"):
        moves: dict[str, list[tuple[float, float]]] = {"encode": [], "decode": []}
        for size in move_sizes or defaults[2]:
            tiles = size // _SIDE
            work = float((size * size + _RANK * tiles * tiles) * BYTES[name])
            for step, (into, onto) in {"encode": (tiles, 1), "decode": (1, tiles)}.items():
                x, weights = random(size, into * _SIDE), random(_RANK, into, onto)
                factors = random(_RANK, _SIDE**2), weights, random(_SIDE**2, _RANK)
                plain = (None, onto * _SIDE, _SIDE, _SIDE, _SIDE, None, tiling == "strided", "auto")
                both = interleaved(
                    {
                        "layer": partial(ops.linear, x, *factors, *plain),
                        "core": _core(random(_RANK, tiles, into), weights),
                    },
                    *(place, rounds, 8.0),
                )
                whole = both["layer"]["min_s"]
                # A difference of two times: noise must not make it vanish.
                moves[step].append((work, max(whole - both["core"]["min_s"], 0.2 * whole)))
        curves |= {f"{step} {tiling}": tuple(points) for step, points in moves.items()}
    work, seconds = max(dense)
    return Peaks(
        device_name(device),
        {name: work / seconds},
        bandwidth,
        launch,
        f"measured {datetime.now(UTC).date()} with torch {torch.__version__}",
        {name: curves},
    )


def measure_and_store_peaks(
    dtype: torch.dtype = torch.float32, device: str = "cpu", path: str | Path | None = None
) -> tuple[Peaks, Path]:
    """Measure, add to what is stored for this device and version, and store; the peaks and their file.

    `predict(..., device="cpu")` or `"cuda"` reads that file from then on. A `path` given here is read with
    `load_peaks(device, path)`.

    Raises:
        InvalidInput, Unavailable: as `measure_peaks`; Unavailable also where the file cannot be written.
    """
    peaks = measure_peaks(dtype, device)
    file = Path(path) if path is not None else peaks_file(device)
    try:
        known = load_peaks(device, file)
    except InvalidInput:
        known = peaks
    merged = Peaks(
        *(peaks.device, {**known.flops, **peaks.flops}, peaks.bandwidth, peaks.launch, peaks.source),
        {**known.curves, **peaks.curves},
    )
    return merged, store_peaks(merged, file)


def _copy_and_launch(numbers: int, place: torch.device, rounds: int) -> tuple[float, float]:
    """Bytes/s of a copy, read plus written, and seconds of an op on one number."""
    source = torch.randn(numbers, device=place)
    target, one = torch.empty_like(source), torch.zeros(1, device=place)
    times = interleaved({"copy": lambda: target.copy_(source), "op": lambda: one.add_(1)}, place, rounds)
    return 2 * source.nbytes / times["copy"]["min_s"], times["op"]["min_s"]


def _fastest(run: Callable[[], Any], place: torch.device, rounds: int) -> float:
    return float(interleaved({"it": run}, place, rounds, budget=8.0)["it"]["min_s"])


def _core(encoded_x: Tensor, encoded_w: Tensor) -> Callable[[], Tensor]:
    """The core alone as the layer runs it: on the CPU into memory that was touched before."""
    if encoded_x.device.type != "cpu":
        return lambda: ops.core(encoded_x, encoded_w, "auto")
    out = torch.zeros(*encoded_x.shape[:2], encoded_w.shape[2], dtype=encoded_x.dtype)
    by_row = encoded_x.transpose(0, 1).contiguous().transpose(0, 1)
    return lambda: torch.bmm(by_row, encoded_w, out=out)
