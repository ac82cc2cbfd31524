"""Who a worker is: where it runs and which process it is, so that neighbours see at once when it is gone."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cache
from pathlib import Path


@cache
def place() -> str:
    """Where process numbers mean what they mean here: machine, boot and container."""
    boot = container = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        container = str(os.stat("/proc/self/ns/pid").st_ino)
    return "/".join(word for word in (socket.gethostname(), boot, container) if word)


def sign() -> str:
    """This process, as `is_gone` reads it: place:number:start."""
    return f"{place()}:{os.getpid()}:{_start(os.getpid())}"


def is_gone(signature: str) -> bool:
    """Whether that process was one of this place and has ended; False where nothing can be known."""
    where, _, process = signature.partition(":")
    number, _, start = process.partition(":")
    if where != place() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return bool(start) and _start(int(number)) != start


def _start(number: int) -> str:
    """When a process was started, in ticks since boot; "" where that is not known. "Z": it has ended."""
    try:
        # The name in parentheses may hold anything.
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "Z" if fields[0] == "Z" else fields[19]
