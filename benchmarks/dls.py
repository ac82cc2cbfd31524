"""Amortised insert time of dynamic least squares against d: recursive, exact, sampled, re-solving.

Seconds are CPU seconds of one thread, since other programs may share the machine.

What does not belong here: accuracy (`accuracy`).
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stl_algebra.numerics.least_squares.stream import DynamicLeastSquares
from stl_search.pictures.style import PALETTE

SIZES, ROWS_PER_FEATURE, EPS, BATCH = (64, 128, 256, 512), 512, 0.1, 2048


def run() -> dict[str, Any]:
    """Seconds a row per method and d, fitted exponents, the d = 512 comparison, peers, and the figure."""
    table = [_measure(d) for d in SIZES]
    exponents = {
        method: float(np.polyfit(np.log(SIZES), np.log([row[method] for row in table]), 1)[0])
        for method in ("rls", "gram", "sampled", "sampled_marginal", "gram_marginal", "resolve")
    }
    last = table[-1]
    growth = last.pop("growth")
    for row in table[:-1]:
        row.pop("growth")
    exponents_in_n = {
        method: float(np.polyfit(np.log([g["n"] for g in growth]), np.log([g[method] for g in growth]), 1)[0])
        for method in ("rls", "gram", "sampled", "resolve")
    }
    draw(table, growth, exponents, exponents_in_n)
    return {
        "rows_per_feature": ROWS_PER_FEATURE,
        "eps": EPS,
        "seconds_per_row": table,
        "exponents_in_d": exponents,
        "seconds_per_row_d512_against_n": growth,
        "exponents_in_n": exponents_in_n,
        "d512": {
            "kept_share": last["kept_share"],
            "faster_than_gram": last["gram"] / last["sampled"],
            "faster_than_rls": last["rls"] / last["sampled"],
        },
        "peers_seconds_per_row_d64": _peers(64),
        "notes": "rls and resolve are timed on a part of the stream; their cost per row or solve is constant",
    }


def _measure(d: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(d)
    truth = torch.ones(d, 1, dtype=torch.float64)
    methods = {
        "gram": DynamicLeastSquares(d, mode="exact", deletions="none"),
        "sampled": DynamicLeastSquares(d, mode="sampled", deletions="none", eps=EPS),
    }
    spent = dict.fromkeys(methods, 0.0)
    tail = dict.fromkeys(methods, 0.0)
    batches = ROWS_PER_FEATURE * d // BATCH
    late = batches - max(batches // 4, 1)
    marks = {max(1, batches // 2**halving) for halving in range(5)}
    growth: list[dict[str, float]] = []
    for index in range(batches):
        a = torch.randn(BATCH, d, generator=generator, dtype=torch.float64)
        b = a @ truth + torch.randn(BATCH, 1, generator=generator, dtype=torch.float64)
        for name, stream in methods.items():
            begin = time.process_time()
            stream.insert(a, b)
            took = time.process_time() - begin
            spent[name] += took
            tail[name] += took if index >= late else 0.0
        if index + 1 in marks:
            seen = (index + 1) * BATCH
            growth.append({"n": seen, **{name: seconds / seen for name, seconds in spent.items()}})
    for name, stream in methods.items():
        begin = time.process_time()
        stream.solve()
        spent[name] += time.process_time() - begin
    rows = batches * BATCH
    begin = time.process_time()
    torch.linalg.lstsq(a, b)
    once = time.process_time() - begin
    # Solving all rows again once a batch: the k-th solve costs k batches, the average half of the last.
    for point in growth:
        point["resolve"] = once * (point["n"] / BATCH + 1) / 2 / BATCH
    recursive = _recursive(a, b)
    for point in growth:
        point["rls"] = recursive
    return {
        "d": d,
        **{name: seconds / rows for name, seconds in spent.items()},
        **{f"{name}_marginal": seconds / ((batches - late) * BATCH) for name, seconds in tail.items()},
        "rls": recursive,
        "resolve": once * (rows / BATCH + 1) / 2 / BATCH,
        "growth": growth,
        "kept_share": methods["sampled"].kept_rows / rows,
    }


def _recursive(a: torch.Tensor, b: torch.Tensor) -> float:
    """Seconds a row of the textbook inverse update."""
    x, inverse = torch.zeros_like(a[0]), 1e3 * torch.eye(a.shape[1], dtype=a.dtype)
    begin = time.process_time()
    for row, target in zip(a[:300], b[:300, 0], strict=True):
        image = inverse @ row
        gain = image / (1 + row @ image)
        inverse.addr_(gain, image, alpha=-1)
        x = x + gain * (target - row @ x)
    return (time.process_time() - begin) / 300


def _peers(d: int) -> dict[str, float | str]:
    """Seconds a row, one at a time, here and with what is installed; a sentence for what is not."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, d)), rng.normal(size=400)
    out: dict[str, float | str] = {}
    rows_a, rows_b = torch.from_numpy(a), torch.from_numpy(b)
    for deletions in ("none", "any"):
        stream = DynamicLeastSquares(d, mode="exact", deletions=deletions)
        begin = time.process_time()
        for start in range(len(a)):
            stream.insert(rows_a[start : start + 1], rows_b[start : start + 1])
        out[f"exact, deletions={deletions}, row by row"] = (time.process_time() - begin) / len(a)
    try:
        peer = importlib.import_module("padasip").filters.FilterRLS(d, mu=1.0)
        begin = time.process_time()
        for row, target in zip(a, b, strict=True):
            peer.adapt(target, row)
        out["padasip FilterRLS"] = (time.process_time() - begin) / len(a)
    except ImportError:
        out["padasip FilterRLS"] = "padasip is not installed"
    try:
        model = importlib.import_module("river.linear_model").BayesianLinearRegression()
        rows = [dict(enumerate(row)) for row in a[:40]]
        begin = time.process_time()
        for sample, target in zip(rows, b, strict=False):
            model.learn_one(sample, target)
        out["river BayesianLinearRegression"] = (time.process_time() - begin) / len(rows)
    except ImportError:
        out["river BayesianLinearRegression"] = "river is not installed"
    linalg = importlib.import_module("scipy.linalg")
    q, r = linalg.qr(a[:d], mode="economic")
    begin = time.process_time()
    for row in a[d : d + 100]:
        q, r = linalg.qr_insert(q, r, row, q.shape[0])
    out["scipy qr_insert"] = (time.process_time() - begin) / 100
    return out


def draw(
    table: list[dict[str, float]],
    growth: list[dict[str, float]],
    in_d: dict[str, float],
    in_n: dict[str, float],
) -> Path:
    """Two panels, against d and against n, with the fitted exponents in their legends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullLocator

    series = {
        "resolve": ("solve again each batch", "o-"), "rls": ("RLS", "s--"), "gram": ("exact (Gram)", "^-"),
        "sampled": ("sampled", "D-"),
    }  # fmt: skip
    panels = (("features d", "d", table, in_d), ("rows n", "n", growth, in_n))
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for axis, (label, symbol, points, exponents) in zip(axes, panels, strict=True):
        for colour, (name, (word, look)) in zip(PALETTE, series.items(), strict=False):
            line = f"{word}, {symbol}^{exponents[name]:.2f}"
            places, seconds = [p[symbol] for p in points], [1e6 * p[name] for p in points]
            axis.loglog(places, seconds, look, color=colour, label=line)
        axis.set_xlabel(label)
        ticks = [int(p[symbol]) for p in points]
        axis.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=9)
    axes[0].set_ylabel("microseconds a row, amortised")
    axes[0].set_title(f"n = {ROWS_PER_FEATURE} d", fontsize=10)
    axes[1].set_title(f"d = {SIZES[-1]}", fontsize=10)
    figure.suptitle(f"Dynamic least squares, eps = {EPS}, float64, one CPU thread", fontsize=11)
    path = Path("docs/figures/dynamic-least-squares.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
