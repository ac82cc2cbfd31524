"""What `stl-search frontier --ratio` prints, which algorithm for a ratio, shape and device; no command."""

from __future__ import annotations

from typing import Any

from stl_algebra.errors import InvalidInput
from stl_algebra.precision import precision
from stl_search.cli.common import echo_json, out, table
from stl_search.frontier.choosing import candidates


def print_choice(ratio: float, shape: str | None, device: str | None, dtype: str, as_json: bool) -> None:
    """What fits a ratio, with predicted times where a shape and a device are given."""
    if (shape is None) != (device is None):
        raise InvalidInput("shape", expected="--shape together with --device", got="one of them")
    sizes = None if shape is None else parse_shape(shape)
    peaks = None
    if device is not None:
        from stl_kernels.speed.prediction import predict, resolve_peaks

        peaks = resolve_peaks(device)
    rows = []
    for candidate in candidates(ratio, dtype):
        row: dict[str, Any] = {
            "name": candidate.name,
            "tile": candidate.algorithm.tile.slug,
            "rank": candidate.algorithm.rank,
            "ratio": candidate.algorithm.ratio,
            "total": candidate.scores.total(dtype),
            **candidate.scores.as_json(),
            "weights": candidate.weights,
            "activations": candidate.activations,
        }
        if sizes is not None and peaks is not None:
            # Two levels run as such or written out as one, whichever is faster.
            times = min(
                (predict(sizes, form, precision(dtype).stored, peaks) for form in candidate.forms),
                key=lambda prediction: prediction.total,
            )
            row |= {"seconds": times.total, "dense_seconds": times.dense, "speedup": times.speedup}
        rows.append(row)
    if as_json:
        where = None if peaks is None else peaks.device
        echo_json({"ratio": ratio, "shape": sizes, "device": where, "dtype": dtype, "candidates": rows})
        return
    numbers = ["rank", "ratio", f"total {dtype}", "A", "weights", "activations"]
    numbers += ["predicted", "speedup"] if sizes else []
    shown = table("", ["name", "tile", *numbers], numbers)
    fastest = min((row["seconds"] for row in rows if "seconds" in row), default=None)
    for row in rows:
        times_ = [f"{row['seconds'] * 1e3:.3g} ms", f"{row['speedup']:.2f}"] if "seconds" in row else []
        shown.add_row(
            row["name"], row["tile"], str(row["rank"]), f"{row['ratio']:.2f}", f"{row['total']:.4g}",
            f"{row['amplification']:.3g}", f"{row['weights']:.2f}x", f"{row['activations']:.2f}x", *times_,
            style="bold" if fastest is not None and row["seconds"] == fastest else "",
        )  # fmt: skip
    out.print(shown)
    best = rows[0]
    out.print(f"least error: {best['name']}, total {best['total']:.4g}", soft_wrap=True)
    if fastest is not None and peaks is not None:
        quick = next(row for row in rows if row["seconds"] == fastest)
        words = f"{quick['speedup']:.2f} times as fast as the dense product"
        out.print(f"predicted fastest on {peaks.device}: {quick['name']}, {words}", soft_wrap=True)


def parse_shape(text: str) -> tuple[int, int, int]:
    """(N, K, M) of "4096x4096x4096".

    Raises:
        InvalidInput: the text is something else.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise InvalidInput("shape", expected="three positive sizes NxKxM, as 4096x4096x4096", got=repr(text))
    n, k, m = (int(p) for p in parts)
    return n, k, m
