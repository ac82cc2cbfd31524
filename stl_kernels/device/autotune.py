"""Which candidate is fastest on this device: measured once, kept on disk per device and versions.

JSON files in the folder autotune of the cache (`stl_algebra.cache`). A file that cannot be read counts as
empty, and where none can be written the answer is kept in memory: a cache is no reason to fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from stl_algebra.cache import cache_folder
from stl_algebra.errors import StlError
from stl_algebra.files import write_atomically

_memory: dict[Path, dict[str, str]] = {}


def cache_file(model: str) -> Path:
    """The file for a device model ("" is the CPU) and the versions of torch and triton."""
    return _cache_file(model or "cpu", os.environ.get("STL_ALGEBRA_CACHE"))


@cache
def _cache_file(model: str, setting: str | None) -> Path:
    # A layer asks in every call, so paths are put together once for each setting of the cache.
    import triton

    name = f"{model}-torch{torch.__version__}-triton{triton.__version__}"
    # Without a cache the path is only the key of this process's memory.
    return (cache_folder("autotune") or Path("autotune")) / (re.sub(r"[^\w.+-]+", "-", name) + ".json")


def known(key: str, model: str) -> str | None:
    """What was found fastest for `key` on this device with these versions, in this process or on disk."""
    return _entries(cache_file(model)).get(key)


def seconds(run: Callable[[], Any]) -> float:
    """Median of a candidate's time on the GPU; infinite where the device cannot run it."""
    import triton

    try:
        return float(triton.testing.do_bench(run, warmup=10, rep=50, return_mode="median"))
    except (RuntimeError, triton.runtime.errors.OutOfResources, triton.runtime.errors.PTXASError):
        return float("inf")


def fastest(
    key: str,
    model: str,
    candidates: Mapping[str, Callable[[], Any]],
    time: Callable[[Callable[[], Any]], float] = seconds,
) -> str:
    """The name of the fastest candidate for `key`, from the cache or measured now.

    A candidate that the device cannot run (too much shared memory, say) counts as infinitely slow.

    Raises:
        StlError: no candidate runs.
    """
    found = known(key, model)
    if found is not None and found in candidates:
        return found
    times = {name: time(run) for name, run in candidates.items()}
    best = min(times, key=lambda name: times[name])
    if times[best] == float("inf"):
        raise StlError(f"no implementation of {key!r} runs on {model}")
    path = cache_file(model)
    entries = _entries(path)
    # Read again before writing: another process may have added keys meanwhile.
    entries.update({**_read(path), key: best})
    if cache_folder() is None:
        return best
    with contextlib.suppress(StlError):
        write_atomically(path, json.dumps(entries, indent=1, sort_keys=True))
    return best


def _entries(path: Path) -> dict[str, str]:
    """This process's copy of the file, read once: a layer asks in every call."""
    if path not in _memory:
        _memory[path] = _read(path)
    return _memory[path]


def _read(path: Path) -> dict[str, str]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}
