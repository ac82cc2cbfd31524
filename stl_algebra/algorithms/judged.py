"""An algorithm with its judgement: proven once, scored once, and handed on.

Files, frontier and report take a `Judged` instead of proving and scoring again.
"""

from __future__ import annotations

from dataclasses import dataclass

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import Scores, closed_form_scores
from stl_algebra.algorithms.verify import Verification, verify


@dataclass(frozen=True)
class Judged:
    """An algorithm, what exact arithmetic says of it, and its closed-form scores on white tiles."""

    algorithm: BilinearAlgorithm
    verification: Verification
    scores: Scores

    @classmethod
    def of(cls, algorithm: BilinearAlgorithm) -> Judged:
        """Prove and score: r * nk * km * nm integer operations and as many multiplications."""
        return cls(algorithm, verify(algorithm), closed_form_scores(algorithm))

    @property
    def exact(self) -> bool:
        """Exact arithmetic says that it multiplies matrices."""
        return self.verification.exact
