"""When the operator pays: the prediction for a shape, an algorithm and a device that a user names.

What does not belong here: the formulas (`device.step_times`), devices' figures (`device.peaks`),
measuring (`stl_kernels.speed.peak_measurement`).
"""

from __future__ import annotations

from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_algebra.precision import BYTES
from stl_kernels.contract.tiles import ceil_div
from stl_kernels.device.peaks import Peaks, common_gpus, load_peaks
from stl_kernels.device.step_times import Prediction, step_times
from stl_kernels.layers.functional import Encoders, as_algorithm, check_tiling

__all__ = ["Prediction", "predict", "resolve_peaks"]


def resolve_peaks(device: Peaks | str) -> Peaks:
    """Peaks as given, of a GPU in the table in upper or lower case, or measured here ("cpu", "cuda").

    Raises:
        InvalidInput: no such device, or its peaks were not measured.
    """
    if isinstance(device, Peaks):
        return device
    name = device.lower()
    if name in ("cpu", "cuda"):
        return load_peaks(name)
    table = {known.lower(): peaks for known, peaks in common_gpus().items()}
    if name not in table:
        names = ", ".join(common_gpus())
        raise InvalidInput("device", expected=f"Peaks, cpu, cuda or one of {names}", got=repr(device))
    return table[name]


def predict(
    shape: tuple[int, int, int],
    encoders: Encoders | TwoLevel,
    dtype: str = "bfloat16",
    device: Peaks | str = "H200",
    *,
    tiling: str = "consecutive",
) -> Prediction:
    """Predict one call on X (N, K) times W (K, M), activations' encode and decode included.

    Args:
        shape: (N, K, M).
        encoders: the algorithm; two levels are predicted as `TwoLevelLinear` runs them.
        dtype: "float32", "float16" or "bfloat16".
        device: "cpu" or "cuda" for the peaks measured on this machine, a name in the table of common GPUs
            (data-sheet rates: an upper bound for real hardware), or peaks. Only data sheets predict the fused
            decode: measured peaks hold no rate for it.
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
    if isinstance(encoders, TwoLevel):
        return _two_levels(shape, encoders, peaks, dtype, tiling)
    algorithm = as_algorithm(encoders)
    t = algorithm.tile
    return step_times(shape, (t.n, t.k, t.m), algorithm.rank, peaks, dtype, tiling)


def _two_levels(
    shape: tuple[int, int, int], algorithm: TwoLevel, peaks: Peaks, dtype: str, tiling: str
) -> Prediction:
    """r1 calls of the inner algorithm, and passes over memory for the sums of blocks around them."""
    (rows, inner, columns), t, count = shape, algorithm.outer.tile, algorithm.outer.rank
    part = (ceil_div(rows, t.n), ceil_div(inner, t.k), ceil_div(columns, t.m))
    u = algorithm.inner.tile
    one = step_times(part, (u.n, u.k, u.m), algorithm.inner.rank, peaks, dtype, tiling)
    whole = step_times(shape, (t.n, t.k, t.m), count, peaks, dtype, tiling)
    return Prediction(
        encode=whole.encode + count * one.encode,
        core=count * one.core,
        decode=count * one.decode + whole.decode,
        dense=whole.dense,
        source=one.source,
        fused=count * one.fused + whole.decode,
    )
