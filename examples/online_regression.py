"""Online regression on real data: approval ratings from five polling agencies, one day at a time.

Data: `river.datasets.TrumpApproval`, which ships with river (no download). A sliding window of 200 days
predicts each day before it is inserted; the comparisons are a memory that fades, the whole history and "same
as yesterday".

    python examples/online_regression.py
"""

from __future__ import annotations

from collections.abc import Iterator

from river import datasets

from stl_algebra.numerics import DynamicLeastSquares

AGENCIES = ("gallup", "ipsos", "morning_consult", "rasmussen", "you_gov")


def polls() -> Iterator[tuple[dict[str, float], float]]:
    """One day a time: what each agency reports, and the aggregated rating to predict."""
    yield from datasets.TrumpApproval()  # type: ignore[no-untyped-call]


def main() -> None:
    window = DynamicLeastSquares(len(AGENCIES), deletions="window", intercept=True)
    streams = {
        "window of 200": window,
        "fading, 1 % a day": DynamicLeastSquares(
            len(AGENCIES), deletions="none", intercept=True, forgetting=0.99
        ),
        "whole history": DynamicLeastSquares(len(AGENCIES), deletions="none", intercept=True),
    }
    errors: dict[str, list[float]] = {name: [] for name in (*streams, "same as yesterday")}
    yesterday = None
    for day, (sample, rating) in enumerate(polls()):
        row = [sample[name] for name in AGENCIES]
        if day >= 50 and yesterday is not None:
            for name, stream in streams.items():
                errors[name].append(abs(float(stream.predict(row)) - rating))
            errors["same as yesterday"].append(abs(yesterday - rating))
        for stream in streams.values():
            stream.insert(row, rating)
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
