"""Online regression on real data: approval ratings from five polling agencies, one day at a time.

Data: `river.datasets.TrumpApproval`, which ships with river (no download). A sliding window of 200 days
predicts each day before it is inserted; the whole history and "same as yesterday" are the comparisons.

    python examples/online_regression.py
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from river import datasets

from stl_algebra.numerics import DynamicLeastSquares

AGENCIES = ("gallup", "ipsos", "morning_consult", "rasmussen", "you_gov")


def polls() -> Iterator[tuple[dict[str, float], float]]:
    """One day a time: what each agency reports, and the aggregated rating to predict."""
    yield from datasets.TrumpApproval()  # type: ignore[no-untyped-call]


def main() -> None:
    window = DynamicLeastSquares(len(AGENCIES) + 1, deletions="window", relative_ridge=1e-8)
    history = DynamicLeastSquares(len(AGENCIES) + 1, deletions="none", relative_ridge=1e-8)
    errors: dict[str, list[float]] = {"window of 200": [], "whole history": [], "same as yesterday": []}
    yesterday = None
    for day, (sample, rating) in enumerate(polls()):
        a = torch.tensor([[1.0, *(sample[name] for name in AGENCIES)]], dtype=torch.float64)
        b = torch.tensor([rating], dtype=torch.float64)
        if day >= 50 and yesterday is not None:
            for name, stream in (("window of 200", window), ("whole history", history)):
                errors[name].append(abs(float(a @ stream.solve().x) - rating))
            errors["same as yesterday"].append(abs(yesterday - rating))
        for stream in (window, history):
            stream.insert(a, b)
        window.expire(200)
        yesterday = rating
    for name, values in errors.items():
        print(
            f"{name:18s} mean absolute error {sum(values) / len(values):.4f} points over {len(values)} days"
        )
    report = window.report()
    print(f"method {report['method']} ({report['reason']}); condition {report['condition']:.1f}")


if __name__ == "__main__":
    main()
