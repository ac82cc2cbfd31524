"""How a dynamic least-squares problem is kept up to date: the choice of mode, and the reasons given for it.

What does not belong here: the modes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.config import Config

# A choice: with fewer rows per feature, or a smaller eps, a large share of the rows is kept anyway (theory
# notes, section 8).
ROWS_PER_FEATURE = 100
SMALLEST_EPS = 0.05


@dataclass(frozen=True)
class Choice:
    """What was chosen and why.

    Attributes:
        method: "gram" (compensated Gram matrix), "window-qr" (two-stack queue of R factors) or "sampled".
        reason: one sentence.
        may_switch: the method is "gram" only until the stream is long enough for "sampled".
    """

    method: Literal["gram", "window-qr", "sampled"]
    reason: str
    may_switch: bool = False


def choose(config: Config) -> Choice:
    """Choose the method.

    Raises:
        InvalidInput: an unknown word, eps out of (0, 1), or a sampled mode that cannot be (no eps,
            deletions).
    """
    mode, deletions, eps = config.mode, config.deletions, config.eps
    if mode not in ("exact", "sampled", "auto"):
        raise InvalidInput("mode", expected='"exact", "sampled" or "auto"', got=mode)
    if deletions not in ("any", "window", "none"):
        raise InvalidInput("deletions", expected='"any", "window" or "none"', got=deletions)
    if eps is not None and not 0 < eps < 1:
        raise InvalidInput("eps", expected="between 0 and 1", got=eps)
    if mode == "sampled":
        if eps is None:
            raise InvalidInput("eps", expected="an accuracy for the sampled mode, such as 0.1", got=eps)
        if deletions != "none":
            raise InvalidInput(
                "deletions",
                expected='"none" in the sampled mode',
                got=deletions,
                hint="sampling is insertion-only: a row that was not kept cannot be taken away",
            )
        return Choice("sampled", f"asked for, eps={eps:g}")
    exact: Literal["gram", "window-qr"] = "window-qr" if deletions == "window" else "gram"
    if mode == "exact":
        return Choice(exact, f"asked for exact, deletions={deletions!r}")
    if config.forgetting < 1:
        return Choice(exact, f"forgetting={config.forgetting:g} was asked for: only the Gram matrix can fade")
    return _automatic(exact, config)


def _automatic(exact: Literal["gram", "window-qr"], config: Config) -> Choice:
    eps, expected = config.eps, config.expected_rows
    if config.deletions != "none":
        return Choice(exact, f"deletions={config.deletions!r} were asked for, and sampling is insertion-only")
    if eps is None:
        return Choice(exact, "no eps was given, so the answer has to be exact")
    if eps < SMALLEST_EPS:
        return Choice(
            exact, f"at eps={eps:g} < {SMALLEST_EPS:g} sampling keeps most rows and costs more than exact"
        )
    threshold = ROWS_PER_FEATURE * config.d
    if expected is None:
        reason = f"the length of the stream is unknown: exact until n = {ROWS_PER_FEATURE} d = {threshold}"
        return Choice(exact, reason, may_switch=True)
    if expected < threshold:
        return Choice(
            exact, f"{expected} rows are fewer than {ROWS_PER_FEATURE} d = {threshold}: exact is faster"
        )
    return Choice("sampled", f"insertion-only, eps={eps:g}, {expected} rows are at least {threshold}")
