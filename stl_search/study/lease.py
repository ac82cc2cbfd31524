"""The thread that keeps a claimed entry its worker's while the trial runs."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from stl_algebra.errors import StlError
from stl_search.study.opened import Study
from stl_search.study.queue import Claim, renew
from stl_search.study.tables import LEASE

#: A lease may miss three renewals.
RENEWAL = LEASE / 4
#: A display's note goes with a renewal: the first after so many seconds, each of the next after twice as
#: long, up to a renewal's, for each is a write to the storage and there may be many workers.
_FIRST_NOTE = 2.0


class Lease:
    """As a context: renews the claim from a thread until the end.

    How far the trial is may be said by `stage`. A storage that is away is tried again at the next tick; the
    trial never waits for it. Where the entry has meanwhile become another worker's, renewing stops and the
    trial goes on: the first result counts.
    """

    def __init__(self, study: Study, claim: Claim, every: float = RENEWAL) -> None:
        self._study, self._claim, self._every = study, claim, every
        self._stage = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def stage(self, what: str, done: int, of: int) -> None:
        """Note how far the trial is; written by the thread."""
        self._stage = f"{what} {done}/{of}"

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        last, said, tick = time.monotonic(), "", min(_FIRST_NOTE, self._every)
        while not self._ended.wait(tick):
            stage = self._stage
            if stage == said and time.monotonic() - last + tick <= self._every:
                continue
            try:
                if not renew(self._study, self._claim, stage):
                    return
            except StlError:
                continue
            last, said, tick = time.monotonic(), stage, min(2 * tick, self._every)
