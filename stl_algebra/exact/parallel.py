"""Several processes on one search: each takes every so-manieth number, and the caller sees all their steps.

What does not belong here: what a step is (`search`).
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from stl_algebra.errors import StlError, Unavailable

T = TypeVar("T")


def in_parallel(jobs: int, steps: Callable[[int, int], Iterator[T]]) -> Iterator[T]:
    """Yield what `steps(first, stride)` yields in `jobs` processes, first = 0 .. jobs - 1, as it comes.

    The processes end with the caller or with the iteration, whichever is first.

    Args:
        jobs: processes.
        steps: can be pickled.

    Raises:
        Unavailable: a process died.
    """
    context = multiprocessing.get_context("spawn")
    channel: Any = context.Queue()
    workers = [
        context.Process(target=_work, args=(channel, steps, first, jobs, os.getpid()), daemon=True)
        for first in range(jobs)
    ]
    for worker in workers:
        worker.start()
    try:
        while True:
            try:
                kind, value = channel.get(timeout=0.5)
            except queue.Empty:
                if not any(w.is_alive() for w in workers) and channel.empty():
                    return
                dead = next((w for w in workers if w.exitcode not in (None, 0)), None)
                if dead is not None:
                    raise Unavailable(f"a worker process died (exit code {dead.exitcode})") from None
                continue
            if kind == "error":
                raise value
            yield value
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(
    channel: Any, steps: Callable[[int, int], Iterator[T]], first: int, stride: int, parent: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    # Each process is one of several: more threads would only wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
    try:
        for step in steps(first, stride):
            channel.put(("step", step))
    except StlError as error:
        channel.put(("error", error))
