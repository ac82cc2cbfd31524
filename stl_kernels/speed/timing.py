"""Timing by alternation, and what a results file says about the machine.

What does not belong here: what is timed.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from stl_kernels.device.peaks import device_name

#: Seconds of work in a graph, as the host sees them, and calls at most.
_GRAPH, _MOST_CALLS = 2e-3, 20


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def interleaved(
    runs: dict[str, Callable[[], Any]], device: torch.device, rounds: int, budget: float = float("inf")
) -> dict[str, dict[str, Any]]:
    """Median and extremes of each run's seconds, the runs alternating so that drift hits all alike.

    At most `rounds` of them, fewer (at least 3) once `budget` seconds are spent; one more warms up first.
    """
    for run in runs.values():
        _seconds(run, device)
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - start > budget:
            break
        for name, run in runs.items():
            times[name].append(_seconds(run, device))
    return {
        name: {"median_s": statistics.median(t), "min_s": min(t), "max_s": max(t), "rounds": len(t)}
        for name, t in times.items()
    }


def captured(run: Callable[[], Any], device: torch.device, calls: int = 1) -> Callable[[], Any]:
    """So many calls of `run` as the replay of a CUDA graph, which leaves the host's part out of their time.

    Raises:
        RuntimeError: `run` does something that a graph cannot hold.
    """
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        # What is allocated or compiled on first use must not happen during the capture.
        for _ in range(2):
            run()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            run()
    return graph.replay


def replayed(
    runs: dict[str, Callable[[], Any]], device: torch.device, rounds: int, budget: float = float("inf")
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """As `interleaved`, from CUDA graphs, in seconds a call; and why runs that no graph can hold are missing.

    A graph of a short run holds several calls: starting one and waiting for it takes as long as some kernels.
    """
    graphs, calls, refused = {}, {}, {}
    for name, run in runs.items():
        _seconds(run, device)
        calls[name] = min(max(1, int(_GRAPH / _seconds(run, device))), _MOST_CALLS)
        try:
            graphs[name] = captured(run, device, calls[name])
        except RuntimeError as error:
            refused[name] = str(error)
    spreads = interleaved(graphs, device, rounds, budget)
    for name, spread in spreads.items():
        spread |= {key: spread[key] / calls[name] for key in ("median_s", "min_s", "max_s")}
        spread["calls"] = calls[name]
    return spreads, refused


def environment(device: str, command: str) -> dict[str, Any]:
    """Device, date, versions, load of the machine and command, for a results file."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "torch": torch.__version__,
            "triton": version("triton") if find_spec("triton") else None,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "command": command,
    }
