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

from stl_algebra.numerics.dynamic_least_squares import DynamicLeastSquares

SIZES, ROWS_PER_FEATURE, EPS, BATCH = (64, 128, 256, 512), 512, 0.1, 2048


def run() -> dict[str, Any]:
    """Seconds a row per method and d, fitted exponents, the d = 512 comparison, peers, and the figure."""
    table = [_measure(d) for d in SIZES]
    exponents = {
        method: float(np.polyfit(np.log(SIZES), np.log([row[method] for row in table]), 1)[0])
        for method in ("rls", "gram", "sampled", "sampled_marginal", "gram_marginal", "resolve")
    }
    last = table[-1]
    _figure(table)
    return {
        "rows_per_feature": ROWS_PER_FEATURE,
        "eps": EPS,
        "seconds_per_row": table,
        "exponents_in_d": exponents,
        "d512": {
            "kept_share": last["kept_share"],
            "faster_than_gram": last["gram"] / last["sampled"],
            "faster_than_rls": last["rls"] / last["sampled"],
        },
        "peers_seconds_per_row_d64": _peers(64),
        "notes": "rls and resolve are timed on a part of the stream; their cost per row or solve is constant",
    }


def _measure(d: int) -> dict[str, float]:
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
    for index in range(batches):
        a = torch.randn(BATCH, d, generator=generator, dtype=torch.float64)
        b = a @ truth + torch.randn(BATCH, 1, generator=generator, dtype=torch.float64)
        for name, stream in methods.items():
            begin = time.process_time()
            stream.insert(a, b)
            took = time.process_time() - begin
            spent[name] += took
            tail[name] += took if index >= late else 0.0
    for name, stream in methods.items():
        begin = time.process_time()
        stream.solve()
        spent[name] += time.process_time() - begin
    rows = batches * BATCH
    begin = time.process_time()
    torch.linalg.lstsq(a, b)
    resolve = (time.process_time() - begin) * rows / BATCH / BATCH
    return {
        "d": d,
        **{name: seconds / rows for name, seconds in spent.items()},
        **{f"{name}_marginal": seconds / ((batches - late) * BATCH) for name, seconds in tail.items()},
        "rls": _recursive(a, b),
        # Solving all rows again once a batch.
        "resolve": resolve,
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


def _figure(table: list[dict[str, float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name in ("rls", "resolve", "gram", "sampled"):
        axes.loglog([r["d"] for r in table], [1e6 * r[name] for r in table], "o-", label=name)
    axes.set_xlabel("features d")
    axes.set_ylabel("microseconds a row, amortised")
    axes.set_title(f"n = {ROWS_PER_FEATURE} d, eps = {EPS}, float64, CPU")
    axes.legend()
    figure.tight_layout()
    path = Path("docs/figures/dynamic-least-squares.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
