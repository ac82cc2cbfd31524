"""A converted model beside the dense one and beside the usual methods at the same ratio: figures and times.

The methods are converted as the model was: the same text, the same blocks one after the other, the same
repair, by recipes that run densely. What does not belong here: the figures themselves (`metrics`), the page
(`reporting`).
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import StlError
from stl_algebra.progress import Progress
from stl_kernels.speed.timing import interleaved
from stl_models.convert import convert_
from stl_models.metrics import Metric
from stl_models.planning.config import ConversionConfig
from stl_models.report import Report
from stl_models.structure.tracing import Batch, at_rest, run_model

#: What people use today -> its recipe.
PEERS = {
    "2:4, SparseGPT": "2:4-sparsegpt",
    "2:4, SparseGPT with a refit": "2:4",
    "2:4, Wanda": "2:4-wanda",
    "activation-aware low rank": "low-rank-whitened",
}


def peers(
    dense: nn.Module,
    report: Report,
    batches: Sequence[Batch],
    metric: Metric | None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Every method of `PEERS` at a ratio; a model is copied for each.

    Args:
        dense: not changed.
        report: of the conversion that is compared; its ratio is theirs.
        batches: its calibration.
        metric: of the whole model.
        progress: called as methods finish.

    Returns:
        One row a method: "method", and "core" (ratio), "error" (median relative error of a layer) and the
        metric under its name; or "why" it cannot be had at this ratio.
    """
    # 2:4 saves half and no more: what was asked for, not what was reached beyond it.
    ratio = min(report.config.ratio or float("inf"), report.ratios["core"])
    rows = []
    for number, (name, recipe) in enumerate(PEERS.items()):
        if progress:
            progress(f"beside: {name}", number, len(PEERS))
        model = copy.deepcopy(dense)
        own = report.config.with_changes(ratio=ratio, recipes=(recipe,), overrides=(), tiles="never")
        try:
            rows.append({"method": name, **figures(model, convert_(model, own, batches), metric)})
        except StlError as error:
            rows.append({"method": name, "why": str(error)})
    if progress:
        progress("beside", len(PEERS), len(PEERS))
    return rows


def figures(model: nn.Module, report: Report, metric: Metric | None) -> dict[str, Any]:
    """Core ratio, median error of a layer, and the metric of a model that was converted."""
    errors = list(report.errors.values())
    found: dict[str, Any] = {
        "core": report.ratios["core"],
        "error": statistics.median(errors) if errors else 0.0,
    }
    if metric is not None:
        found[metric.name] = metric.of(model)
    return found


def measured_seconds(
    dense: nn.Module, converted: nn.Module, windows: Tensor, config: ConversionConfig
) -> dict[str, dict[str, Any]]:
    """Seconds of a forward pass of both, alternating, at the configuration's batch and length.

    Args:
        dense, converted: whole models.
        windows: (n, length) token ids, repeated to the size.
        config: says batch and length.

    Returns:
        "dense" and "converted": median, extremes and rounds, see `interleaved`.
    """
    tokens = windows.flatten().repeat(-(-config.batch * config.length // windows.numel()))
    ids = tokens[: config.batch * config.length].view(config.batch, config.length)
    runs = {
        "dense": lambda: run_model(dense, {"input_ids": ids}),
        "converted": lambda: run_model(converted, {"input_ids": ids}),
    }
    with at_rest(dense), at_rest(converted):
        return interleaved(runs, torch.device(next(dense.parameters()).device), 5, 60.0)
