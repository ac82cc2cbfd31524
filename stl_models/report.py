"""What a conversion did, as one value; `reporting` makes pages of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from stl_algebra.version import __version__
from stl_models.planning.allocate import Allocation
from stl_models.planning.config import ConversionConfig
from stl_models.planning.plan import Plan


@dataclass(eq=False)
class Report:
    """What a conversion did.

    Attributes:
        config, plan: as given and as planned.
        allocation: what was chosen for every region, and the frontier.
        errors: layer to relative output error, closed form, on calibration rows.
        blocks: block to what was measured on held-out rows, and whether repair was kept.
        ratios: "core", "everything" and "bytes" of the converted layers, and their predicted seconds.
        rows: calibration rows.
        notes: what a user should know.
        measured: figures of the whole model, by name; filled in by who measures.
        distillation: steps that were taken and the held-out loss before and after, where there were any.
        peers: rows for the dense model, this one and the usual methods at its ratio, see `comparison`.
        times: measured seconds of "dense" and "converted", see `comparison.measured_seconds`.
    """

    config: ConversionConfig
    plan: Plan
    allocation: Allocation
    errors: dict[str, float] = field(default_factory=dict)
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    distillation: dict[str, Any] = field(default_factory=dict)
    peers: list[dict[str, Any]] = field(default_factory=list)
    times: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "version": __version__,
            "torch": torch.__version__,
            "config": self.config.as_json(),
            "plan": self.plan.as_json(),
            "decisions": [d.as_json() for d in self.allocation.decisions],
            "frontier": [list(point) for point in self.allocation.frontier],
            "predicted_loss": self.allocation.loss,
            "errors": self.errors,
            "blocks": self.blocks,
            "ratios": self.ratios,
            "rows": self.rows,
            "seconds": self.seconds,
            "notes": self.notes,
            "measured": self.measured,
            "distillation": self.distillation,
            "peers": self.peers,
            "times": self.times,
        }
