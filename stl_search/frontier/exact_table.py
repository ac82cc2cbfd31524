"""The exact algorithms of all small formats beside the best known ranks, as rows."""

from __future__ import annotations

from typing import Any

from stl_algebra.algorithms.scores import amplification
from stl_algebra.algorithms.verify import verify
from stl_algebra.exact.catalogue import exact_algorithm, table


def exact_table_rows() -> list[dict[str, Any]]:
    """One row per format of `catalogue.table`, each algorithm built and verified in exact arithmetic here."""
    rows = []
    for row in table():
        algorithm = exact_algorithm(row.tile)
        outcome = verify(algorithm)
        rows.append(
            {
                "tile": row.tile.slug,
                "products": row.tile.products,
                "rank": row.rank,
                "best_known": row.best_known,
                "best_known_integers": row.best_known_integers,
                "gap": row.gap,
                "exact": outcome.exact,
                "ring": outcome.ring,
                "gf2": outcome.gf2,
                "amplification": amplification(algorithm),
                "origin": row.origin,
                "parts": [part.slug for part in row.parts],
            }
        )
    return rows
