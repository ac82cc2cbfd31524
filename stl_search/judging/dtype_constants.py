"""Measuring c(dtype) in `added NMSE = c A`, the cost of rounding per unit of amplification.

What is measured: operands rounded to the dtype after encoding, exact products accumulated in float32, the
core's output rounded to the dtype (bf16, fp16) or left in float32 (tf32, fp32), encode and decode in
float64. The result is stored in stl_algebra/data/dtype_constants.json and read by
`stl_algebra.algorithms.scores`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from stl_algebra import BilinearAlgorithm, TileFormat
from stl_algebra.algorithms.compose import sandwich
from stl_algebra.algorithms.scores import amplification
from stl_algebra.exact.catalogue import exact_algorithm, strassen, winograd
from stl_algebra.precision import PRECISIONS, precision


def _rounded(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """float64 values rounded to the dtype's precision, as float32 for the core."""
    if dtype == "tf32":
        # Ten explicit mantissa bits, round to nearest even on the float32 pattern.
        bits = values.to(torch.float32).view(torch.int32)
        bits = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF
        return bits.view(torch.float32)
    return values.to(getattr(torch, precision(dtype).stored)).to(torch.float32)


def added_nmse(algorithm: BilinearAlgorithm, dtype: str, size: int, seed: int) -> float:
    """E|Y_rounded - Y|^2 / E|XW|^2 of one Gaussian product of size^3, Y the algorithm in float64."""
    t = algorithm.tile
    rng = np.random.default_rng(seed)
    rows, inner, columns = size // t.n, size // t.k, size // t.m
    x = torch.from_numpy(rng.normal(size=(rows * inner, t.x_size)) @ algorithm.encode_x.T)
    w = torch.from_numpy(rng.normal(size=(inner * columns, t.w_size)) @ algorithm.encode_w.T)
    x = x.T.reshape(algorithm.rank, rows, inner).contiguous()
    w = w.T.reshape(algorithm.rank, inner, columns).contiguous()
    core = torch.bmm(_rounded(x, dtype), _rounded(w, dtype))
    if dtype in ("bf16", "fp16"):
        core = _rounded(core, dtype)
    difference = (core.to(torch.float64) - torch.bmm(x, w)).reshape(algorithm.rank, -1)
    decoded = torch.from_numpy(algorithm.decode) @ difference
    # E|XW|^2 per entry is K for unit-variance entries.
    return float((decoded**2).mean()) / (inner * t.k)


def measure(size: int = 1024, seeds: int = 3) -> dict[str, Any]:
    """Measure every dtype on several algorithms of different amplification; a JSON document.

    The constant is the median over algorithms and seeds of added NMSE / A; the spread is stored with it.
    """
    rng = np.random.default_rng(0)
    skew = [np.eye(2) + 0.6 * rng.normal(size=(2, 2)) for _ in range(3)]
    algorithms = [
        strassen(),
        winograd(),
        exact_algorithm(TileFormat(4, 4, 4)),
        sandwich(strassen(), *skew),
    ]
    constants = {}
    for dtype in PRECISIONS:
        ratios = [
            added_nmse(a, dtype, size, seed) / amplification(a) for a in algorithms for seed in range(seeds)
        ]
        constants[dtype] = {
            "added_nmse_per_amplification": float(np.median(ratios)),
            "least": float(min(ratios)),
            "largest": float(max(ratios)),
            "samples": len(ratios),
        }
    return {
        "constants": constants,
        "size": size,
        "algorithms": [f"{a.name} A={amplification(a):.4g}" for a in algorithms],
        "device": "cpu",
        "date": datetime.now(UTC).date().isoformat(),
        "torch": version("torch"),
        "command": "stl-search bench dtypes --write",
    }


def as_json(document: dict[str, Any]) -> str:
    """The document as stored."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
