"""Scoring, refining and searching bilinear algorithms as approximate matrix multiplication.

`stl_search.run` is what `stl-search run` does; it is imported when it is asked for, because it takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stl_search.runs import Result, run

__all__ = ["Result", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from stl_search import runs

        return getattr(runs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
