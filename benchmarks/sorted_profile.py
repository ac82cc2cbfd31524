"""Measure the published encoders for sorted features on held-out rows of layers, beside their competitors.

`python -m benchmarks.sorted_profile --matrices minilm --matrices CAPTURE.safetensors` writes
results/sorted-profile/layers.json and README.md. Every figure is of an `STLLinear` made by
`from_linear(..., calibration=...)`, run in float64 on test rows that the calibration has not seen. What does
not belong here: finding encoders (`sorted_frontier`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.feature_layout import feature_layout
from stl_algebra.algorithms.profile import SORTED, shipped_profile
from stl_algebra.algorithms.scores import inner_losses
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.files import write_atomically
from stl_algebra.published import encoders, published
from stl_algebra.version import __version__
from stl_kernels import STLLinear
from stl_kernels.layers.sorting import response_to
from stl_search.matrices.pair import MatrixPair
from stl_search.matrices.readers import load_matrices

TILE, LONGER = TileFormat(4, 4, 4), TileFormat(4, 8, 4)
FOLDER = Path("results/sorted-profile")
WHITE = "white, same layout"
#: Ranks that are measured once more with the order alone, of variances: no partners, no axes of a tile.
BY_VARIANCE = (24, 32, 40)
#: Inner indices that the baselines keep: the exact algorithms <4,2,4> and <4,3,4> on the strongest features.
KEPT = (2, 3)


def on_strongest(inner: int) -> BilinearAlgorithm:
    """The exact <4, inner, 4> on the first inner indices of <4,4,4>, nothing on the others."""
    part = exact_algorithm(TileFormat(TILE.n, inner, TILE.m))
    x = np.zeros((part.rank, TILE.n, TILE.k))
    w = np.zeros((part.rank, TILE.k, TILE.m))
    x[:, :, :inner] = part.encode_x.reshape(-1, TILE.n, inner)
    w[:, :inner] = part.encode_w.reshape(-1, inner, TILE.m)
    return BilinearAlgorithm(TILE, x.reshape(part.rank, -1), w.reshape(part.rank, -1), part.decode)


@torch.no_grad()
def errors(
    algorithm: BilinearAlgorithm,
    pair: MatrixPair,
    partners: bool = True,
    layout_of: BilinearAlgorithm | None = None,
) -> tuple[float, float]:
    """|Y - XW|^2 of the layer on the pair's test rows over |XW|^2, and over |(X - mean) W|^2.

    Without `partners` the layer gets variances instead of a covariance. With `layout_of` features and axes
    lie as for those encoders, which a layer of white ones would not do by itself.
    """
    inner, outer = pair.w.shape
    dense = nn.Linear(inner, outer, bias=False, dtype=torch.float64)
    dense.weight.copy_(torch.from_numpy(pair.w.T.copy()))
    moments = pair.calibration_moments
    mean = dense(torch.from_numpy(moments.mean))
    if layout_of is None:
        given = moments if partners else (moments.mean, np.diag(moments.covariance))
        layer = STLLinear.from_linear(dense, algorithm, calibration=given, row_grouping="rows")
        bias = torch.zeros_like(mean)
    else:
        layout = feature_layout(moments.covariance, algorithm.tile.k, inner_losses(layout_of))
        layer = STLLinear.from_linear(
            dense, layout.turned(algorithm), permutation=layout.consecutive.tolist(), row_grouping="rows"
        )
        bias = mean - response_to(layer, torch.from_numpy(moments.mean))
    # Whole tiles only: what a layer makes of rows that fill a tile up is another question.
    x = torch.from_numpy(pair.x[: len(pair.x) // TILE.n * TILE.n])
    wanted = dense(x)
    lost = float((layer(x) + bias - wanted).square().sum())
    return lost / float(wanted.square().sum()), lost / float((wanted - mean).square().sum())


def measure(source: str, asked: list[int]) -> dict[str, Any]:
    """Rows of one `--matrices` value: method, rank, ratio, errors by layer, their means.

    Of the ranks asked for, and of longer tiles of those of their ratios; of all where none is.
    """
    pairs = load_matrices(source)

    def ranks(tile: TileFormat) -> list[int]:
        return [r for r in _ranks(tile) if not asked or r * TILE.k / tile.k in asked]

    methods: list[tuple[str, BilinearAlgorithm, bool]] = [
        *((f"{SORTED} profile", encoders(TILE, rank, SORTED), True) for rank in ranks(TILE)),
        *((WHITE, encoders(TILE, rank), True) for rank in ranks(TILE)),
        *((f"{SORTED} profile, {LONGER}", encoders(LONGER, rank, SORTED), True) for rank in ranks(LONGER)),
        *((f"{SORTED} profile, by variance", encoders(TILE, rank, SORTED), False) for rank in BY_VARIANCE),
        *((f"strongest on <4,{k},4>", on_strongest(k), True) for k in KEPT),
    ]
    rows = []
    for name, algorithm, partners in methods:
        like = encoders(TILE, algorithm.rank, SORTED) if name == WHITE else None
        found = [errors(algorithm, pair, partners, like) for pair in pairs]
        rows.append(
            {
                "method": name,
                "rank": algorithm.rank,
                "ratio": algorithm.ratio,
                "error": float(np.mean([whole for whole, _ in found])),
                "error_about_mean": float(np.mean([about for _, about in found])),
                "layers": {pair.name: whole for pair, (whole, _) in zip(pairs, found, strict=True)},
            }
        )
    return {"source": Path(source).stem, "layers": [pair.name for pair in pairs], "rows": rows}


def _ranks(tile: TileFormat) -> list[int]:
    return [rank for own, rank in published(SORTED) if own == tile]


def markdown(record: dict[str, Any]) -> str:
    """Tables of each source: the sorted profile beside the white winner, longer tiles, the baselines."""
    lines = [
        "# Encoders for sorted features on layers",
        "",
        f"`{record['command']}`, {record['date']}, {record['device']}, "
        f"stl-algebra {record['versions']['stl_algebra']}, torch {record['versions']['torch']}.",
        "",
        f"Encoders fitted to the profiles {' and '.join(record['profiles'])}",
        "(stl_algebra/data/sorted_profiles), measured on the bundled MiniLM layers. Squared error of the",
        "output on held-out rows, mean over the layers, the mean in the bias: relative to the output, and in",
        "brackets to the output about its mean. White: published encoders for white tiles, features and axes",
        "where the sorted ones have them. By variance: without covariances, features keep the partners that",
        "their order gives them.",
    ]
    for part in record["results"]:
        rows = {(row["method"], row["rank"]): row for row in part["rows"]}
        lines += ["", f"## {part['source']}: {', '.join(n.split(':')[-1] for n in part['layers'])}", ""]
        lines += [
            "| rank | ratio | sorted profile | white, same layout | sorted / white |",
            "|" + " --- |" * 5,
        ]
        for method, rank in rows:
            if method != f"{SORTED} profile":
                continue
            mine, white = rows[method, rank], rows[WHITE, rank]
            share = f"{mine['error'] / white['error']:.2f}" if white["error"] > 1e-12 else ""
            lines.append(f"| {rank} | {mine['ratio']:.2f} | {_words(mine)} | {_words(white)} | {share} |")
        lines += ["", f"| {LONGER}, rank | ratio | sorted profile | over {TILE} |", "|" + " --- |" * 4]
        for rank in (rank for method, rank in rows if method == f"{SORTED} profile, {LONGER}"):
            mine = rows[f"{SORTED} profile, {LONGER}", rank]
            beside = rows[f"{SORTED} profile", rank * TILE.k // LONGER.k]
            share = f"{mine['error'] / beside['error']:.2f}" if beside["error"] > 1e-12 else ""
            lines.append(f"| {rank} | {mine['ratio']:.2f} | {_words(mine)} | {share} |")
        lines += ["", "| beside them | rank | ratio | error |", "|" + " --- |" * 4]
        for row in part["rows"]:
            if row["method"].startswith(("strongest", f"{SORTED} profile, by")):
                lines.append(f"| {row['method']} | {row['rank']} | {row['ratio']:.2f} | {_words(row)} |")
    return "\n".join(lines) + "\n"


def _words(row: dict[str, Any]) -> str:
    return f"{row['error']:.4f} ({row['error_about_mean']:.4f})"


def main(arguments: list[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sorted_profile", description=__doc__)
    parser.add_argument("--matrices", action="append", help="as of stl-search evaluate; default: minilm")
    parser.add_argument("--ranks", type=int, nargs="+", default=[], help="of <4,4,4>; default: all")
    parser.add_argument("--out", type=Path, default=FOLDER)
    asked = parser.parse_args(arguments)
    sources = asked.matrices or ["minilm"]
    torch.set_num_threads(1)
    shown = [word for source in sources for word in ("--matrices", Path(source).name)]
    shown += ["--ranks", *map(str, asked.ranks)] if asked.ranks else []
    record = {
        "command": shlex.join(["python", "-m", "benchmarks.sorted_profile", *shown]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"cpu {platform.machine()}, 1 thread",
        "versions": {"stl_algebra": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "profiles": [str(shipped_profile(tile.k)) for tile in (TILE, LONGER)],
        "results": [measure(source, asked.ranks) for source in sources],
    }
    print(write_atomically(asked.out / "layers.json", json.dumps(record, indent=1) + "\n"))
    print(write_atomically(asked.out / "README.md", markdown(record)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
