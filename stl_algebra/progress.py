"""How long work tells what it does: the one signature that bars on a screen and logs share."""

from __future__ import annotations

from collections.abc import Callable

#: (what, done, of): called as steps finish; never needed for a result.
Progress = Callable[[str, int, int], None]
