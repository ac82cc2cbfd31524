"""What a device reaches: measured curves kept on disk per device and version, and a table of common GPUs.

A measured file is JSON in the folder peaks of the cache (`stl_algebra.cache`).
What does not belong here: measuring (`peak_measurement`), the prediction (`speed.prediction`).
"""

from __future__ import annotations

import json
import math
import platform
import re
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from stl_algebra.cache import cache_folder
from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.files import write_atomically

# Measured (work, seconds) points, work increasing.
Curve = tuple[tuple[float, float], ...]
STEPS = ("dense", "core", "encode strided", "encode consecutive", "decode strided", "decode consecutive")


@dataclass(frozen=True)
class Peaks:
    """What a device reaches.

    Attributes:
        device: its name.
        flops: FLOP/s of large dense products by dtype ("float32", ...).
        bandwidth: bytes/s of memory, read plus written.
        launch: seconds of one launch.
        source: where the figures come from.
        curves: measured (work, seconds) by dtype and step of `STEPS`; empty for data sheets. Work is FLOP for
            "dense", FLOP of one of the r products for "core" (seconds likewise), and bytes read plus written
            for the others.
        vector: float32 FLOP/s outside the matrix units, where the fused decode's additions run; None where it
            is not known or there is no such kernel.
    """

    device: str
    flops: dict[str, float]
    bandwidth: float
    launch: float
    source: str
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    vector: float | None = None


def seconds_on(curve: Curve, work: float) -> float:
    """Seconds for `work`: straight lines between the points in log-log, a constant rate beyond the ends."""
    points = sorted(curve)
    if work <= points[0][0]:
        return points[0][1] * work / points[0][0]
    for (w0, s0), (w1, s1) in pairwise(points):
        if work <= w1:
            part = math.log(work / w0) / math.log(w1 / w0)
            return math.exp((1 - part) * math.log(s0) + part * math.log(s1))
    return points[-1][1] * work / points[-1][0]


@cache
def _gpu_table() -> dict[str, dict[str, Any]]:
    table = json.loads(files("stl_kernels").joinpath("data/gpus.json").read_text("utf-8"))
    return dict(table["gpus"])


@cache
def common_gpus() -> dict[str, Peaks]:
    """The table of common GPUs, by name: data-sheet rates."""
    return {
        name: Peaks(
            *(name, entry["flops"], entry["bandwidth"], entry["launch"], entry["sheet"]),
            vector=entry["vector"],
        )
        for name, entry in _gpu_table().items()
    }


def gpu_of_model(model: str) -> Peaks | None:
    """The table's entry for a device name as the driver reports it; None for every other product."""
    for name, entry in _gpu_table().items():
        if model in entry["models"]:
            return common_gpus()[name]
    return None


def device_name(device: str) -> str:
    """A name of the device that tells its speed: the GPU's model, or the processor's and the thread count."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        model = found[1].strip() if found else model
    threads = torch.get_num_threads()
    return f"{model}, {threads} thread{'' if threads == 1 else 's'}"


def peaks_file(device: str) -> Path:
    """The file for this device ("cpu" or "cuda") and the installed torch.

    Raises:
        Unavailable: the cache is switched off.
    """
    folder = cache_folder("peaks")
    if folder is None:
        raise Unavailable("measured peaks are kept in the cache, which is switched off (STL_ALGEBRA_CACHE)")
    name = f"peaks-{device_name(device)}-torch{torch.__version__}"
    return folder / (re.sub(r"[^\w.+-]+", "-", name) + ".json")


def store_peaks(peaks: Peaks, path: str | Path) -> Path:
    """Write measured peaks as JSON."""
    return write_atomically(path, json.dumps(asdict(peaks), indent=1, sort_keys=True) + "\n")


def load_peaks(device: str, path: str | Path | None = None) -> Peaks:
    """The peaks measured on this machine's `device`, or those in the file at `path`.

    Raises:
        InvalidInput: none are stored, or the file is not a peaks file.
    """
    hint = "measure them with stl_kernels.measure_and_store_peaks"
    path = Path(path) if path is not None else peaks_file(device)
    try:
        return _from_json(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InvalidInput(
            "device",
            expected="a device whose peaks were measured",
            got=f"{device!r} without {path.name}",
            hint=hint,
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            "device", expected=f"a peaks file at {path}", got="other content", hint=hint
        ) from error


def _from_json(data: dict[str, Any]) -> Peaks:
    vector = data.get("vector")
    positive = [data["bandwidth"], data["launch"], *data["flops"].values()]
    positive += [] if vector is None else [vector]
    curves = {
        str(dtype): {
            step: tuple((float(work), float(seconds)) for work, seconds in steps[step]) for step in STEPS
        }
        for dtype, steps in data["curves"].items()
    }
    positive += [x for steps in curves.values() for curve in steps.values() for point in curve for x in point]
    if not all(math.isfinite(value) and value > 0 for value in positive) or not all(
        curve for steps in curves.values() for curve in steps.values()
    ):
        raise ValueError("a figure is missing or not positive")
    flops = {str(name): float(value) for name, value in data["flops"].items()}
    return Peaks(
        str(data["device"]),
        flops,
        float(data["bandwidth"]),
        float(data["launch"]),
        str(data["source"]),
        curves,
        None if vector is None else float(vector),
    )
