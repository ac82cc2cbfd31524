"""Processes side by side, as torchrun starts them: one device each, gradients averaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from stl_algebra.errors import Unavailable


@contextmanager
def processes(device: str = "") -> Iterator[tuple[torch.device, bool]]:
    """This process's device, and whether it is the first; joined to the others where torchrun started it.

    Args:
        device: "cuda", "cpu" or another name; "" for cuda where there is one.

    Raises:
        Unavailable: the device is not there.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device(f"cuda:{number}" if name == "cuda" else name)
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise Unavailable(f"device {place}: {error}") from error
    if "WORLD_SIZE" not in os.environ:
        yield place, True
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield place, dist.get_rank() == 0
    finally:
        dist.destroy_process_group()
