"""Measuring a device's peaks: the operator's own steps at several sizes, for the prediction to read off.

What does not belong here: the figures' form and storage (`stl_kernels.device.peaks`), their use
(`prediction`).
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
from stl_algebra.precision import BYTES
from stl_kernels import ops
from stl_kernels.backends.packed import packed
from stl_kernels.contract.tiles import TILINGS
from stl_kernels.device.peaks import STEPS, Peaks, device_name, load_peaks, peaks_file, store_peaks
from stl_kernels.speed.timing import interleaved, replayed

_RANK, _SIDE = 24, 4
# Square sizes of the dense products (multiples of 4), float32 numbers in the copy.
_SIZES = {
    "cpu": ((128, 512, 1024, 2048, 4096), 1 << 26),
    "cuda": ((512, 1024, 2048, 4096, 8192), 1 << 28),
}


@torch.no_grad()
def measure_peaks(
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    rounds: int = 11,
    *,
    sizes: Sequence[int] | None = None,
    copied: int | None = None,
) -> Peaks:
    """Measure dense products and, for a <4,4,4> layer of rank 24, core, encode and decode at several sizes.

    Encode and decode are measured inside the layer op, where they run: a layer with one tile column on the
    other side, less the same core product alone. Everything of one size alternates in one run, so that other
    work on the machine slows all steps alike. About half a minute on two CPU cores.

    Args:
        dtype: what to compute in.
        device: "cpu" or "cuda".
        rounds: repetitions; the fastest counts, as other work on the machine only ever adds time.
        sizes: square sizes of the dense products (multiples of 4); None for the device's own.
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
    place, (own_sizes, own_copied) = torch.device(device), _SIZES[device]
    bandwidth, launch = _copy_and_launch(copied or own_copied, place, rounds)
    curves: dict[str, list[tuple[float, float]]] = {step: [] for step in STEPS}
    for size in sizes or own_sizes:
        for step, point in _measure_size(size, dtype, place, rounds).items():
            curves[step].append(point)
    work, seconds = max(curves["dense"])
    return Peaks(
        device_name(device),
        {name: work / seconds},
        bandwidth,
        launch,
        f"measured {datetime.now(UTC).date()} with torch {torch.__version__}",
        {name: {step: tuple(points) for step, points in curves.items()}},
    )


def _measure_size(
    size: int, dtype: torch.dtype, place: torch.device, rounds: int
) -> dict[str, tuple[float, float]]:
    """(work, seconds) of every step at one size; the works are those of `Peaks.curves`."""

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, device=place).to(dtype)

    tiles = size // _SIDE
    x, encode, decode = random(size, size), random(_RANK, _SIDE**2), random(_SIDE**2, _RANK)
    runs: dict[str, Callable[[], Any]] = {
        "dense": partial(torch.nn.functional.linear, x, random(size, size)),
        "core": _core(random(_RANK, tiles, tiles), random(_RANK, tiles, tiles)),
    }
    for step, (into, onto) in {"encode": (tiles, 1), "decode": (1, tiles)}.items():
        part, weights = x[:, : into * _SIDE].contiguous(), random(_RANK, into, onto)
        runs[f"core {step}"] = _core(random(_RANK, tiles, into), weights)
        for tiling in TILINGS:
            # Core and decode in two kernels: the steps are measured one by one.
            plain = (None, onto * _SIDE, _SIDE, _SIDE, _SIDE, None, tiling == "strided", False, "auto", True)
            runs[f"{step} {tiling}"] = partial(ops.linear, part, encode, weights, decode, *plain)
    times = _fastest(runs, place, rounds, budget=12.0)
    product, moved = 2.0 * size**3, float((size * size + _RANK * tiles * tiles) * x.element_size())
    out = {"dense": (product, times["dense"]), "core": (2.0 * tiles**3, times["core"] / _RANK)}
    for step in STEPS[2:]:
        # A difference of two times: noise must not make it vanish.
        alone = times[f"core {step.split()[0]}"]
        out[step] = (moved, max(times[step] - alone, 0.2 * times[step]))
    return out


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
    times = _fastest({"copy": lambda: target.copy_(source), "op": lambda: one.add_(1)}, place, rounds)
    return 2 * source.nbytes / times["copy"], times["op"]


def _fastest(
    runs: dict[str, Callable[[], Any]], place: torch.device, rounds: int, budget: float = float("inf")
) -> dict[str, float]:
    """The least seconds of each; on a GPU the device's own, as a model runs that is compiled or captured.

    Raises:
        Unavailable: a graph cannot hold one of them.
    """
    if place.type != "cuda":
        spreads = interleaved(runs, place, rounds, budget)
    else:
        spreads, refused = replayed(runs, place, rounds, budget)
        if refused:
            raise Unavailable(f"not measured, as a CUDA graph refused it: {refused}")
    return {name: spread["min_s"] for name, spread in spreads.items()}


def _core(encoded_x: Tensor, encoded_w: Tensor) -> Callable[[], Tensor]:
    """The core alone as the layer runs it: on the CPU in blocks, or into memory that was touched before."""
    if encoded_x.device.type != "cpu":
        return lambda: ops.core(encoded_x, encoded_w, "auto")
    constant = packed(encoded_w, encoded_x.shape[1])
    if constant is not None:
        block = torch.randn(constant.height, *encoded_w.shape[:2])
        return lambda: [constant.core(block) for _ in range(0, encoded_x.shape[1], constant.height)][-1]
    out = torch.zeros(*encoded_x.shape[:2], encoded_w.shape[2], dtype=encoded_x.dtype)
    by_row = encoded_x.transpose(0, 1).contiguous().transpose(0, 1)
    return lambda: torch.bmm(by_row, encoded_w, out=out)
