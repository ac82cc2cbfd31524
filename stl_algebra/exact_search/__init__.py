"""Finding exact algorithms: walks in the flip graph, least squares from random starts, format by format.

What does not belong here: algorithms that are known already (`known`), rounding (`discretise`) and
approximate algorithms (`stl_search`).
"""

from stl_algebra.exact_search.flip_graph import Walk, walk
from stl_algebra.exact_search.formats import Attempt, search_format
from stl_algebra.exact_search.random_starts import RandomStart, solve_from_random_starts

__all__ = ["Attempt", "RandomStart", "Walk", "search_format", "solve_from_random_starts", "walk"]
