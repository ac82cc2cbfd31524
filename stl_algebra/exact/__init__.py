"""Finding exact algorithms: walks in the flip graph, least squares from random starts, format by format.

Import from the modules: `flip_graph.walk`, `formats.search_format`, `random_starts.solve_from_random_starts`.
What does not belong here: algorithms that are known already (`known`), rounding (`discretise`) and
approximate algorithms (`stl_search`).
"""
