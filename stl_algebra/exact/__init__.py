"""Exact algorithms: what is known and how it is composed, and searches for more.

`search` is what `stl-search find` runs; the rest is imported from the modules. What does not belong here:
approximate algorithms (`stl_search`).
"""

from stl_algebra.exact.search import METHODS, Step, search

__all__ = ["METHODS", "Step", "search"]
