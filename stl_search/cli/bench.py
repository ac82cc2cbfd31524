"""`stl-search bench`: measurements that the project stores and quotes."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import stl_algebra
from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically
from stl_algebra.published import read_encoders
from stl_search.cli.common import (
    check_device,
    device_option,
    echo_json,
    err,
    json_option,
    out,
    progress_bar,
    table,
)
from stl_search.cli.names import encoders_argument

if TYPE_CHECKING:
    import torch


@click.group()
def bench() -> None:
    """Measure on this machine."""


@bench.command()
@click.option("--write", is_flag=True, help="Store them as the constants of the installed package.")
def dtypes(write: bool) -> None:
    """Rounding constants c of `added NMSE = c A` for bf16, fp16, tf32 and fp32.

    \b
    Example:
      stl-search bench dtypes
    """
    from stl_search.judging.dtype_constants import as_json as constants_as_json
    from stl_search.judging.dtype_constants import measure

    with err.status("measuring rounding"):
        document = constants_as_json(measure())
    if write:
        target = Path(stl_algebra.__file__).parent / "data" / "dtype_constants.json"
        out.print(str(write_atomically(target, document)), soft_wrap=True)
    else:
        click.echo(document, nl=False)


class Shape(click.ParamType[tuple[int, int, int]]):
    """N, K, M from "2048" or "512x2048x8192"."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """Three sizes of at least 1."""
        sizes = [int(s) for s in str(value).split("x")] if re.fullmatch(r"[\dx]+\d", f"{value}") else []
        if len(sizes) == 1:
            sizes *= 3
        if len(sizes) != 3 or min(sizes) < 1:
            self.fail(f'expected "2048" or "512x2048x8192" (N x K x M), got {value!r}', param, ctx)
        return sizes[0], sizes[1], sizes[2]


def _torch_dtype(name: str) -> torch.dtype:
    import torch

    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if name not in dtypes:
        raise InvalidInput("dtype", expected=f"one of {', '.join(dtypes)}", got=name)
    return dtypes[name]


_dtype_option = click.option("--dtype", default="fp32", show_default=True, help="fp32, fp16 or bf16.")


@bench.command()
@encoders_argument
@click.option("--shape", "shapes", type=Shape(), multiple=True, default=("1024",))
@device_option
@_dtype_option
@click.option("--tiling", type=click.Choice(["strided", "consecutive"]), default="strided", show_default=True)
@json_option
def layer(
    encoders: Path,
    shapes: tuple[tuple[int, int, int], ...],
    device: str,
    dtype: str,
    tiling: str,
    as_json: bool,
) -> None:
    """Time a layer beside the dense product, with the prediction beside the measurement.

    \b
    Example:
      stl-search bench layer results/frontier-4x4x4/encoders/4x4x4-r24.safetensors --shape 2048
    """
    from stl_algebra.algorithms.scores import closed_form_scores
    from stl_kernels import load_peaks
    from stl_kernels.layers.costs import costs, neighbour_dependence_of
    from stl_kernels.speed.layer_bench import bench_layer

    chosen = _torch_dtype(dtype)
    check_device(device)
    try:
        known = load_peaks(device)
    except InvalidInput:
        err.print(
            "no peaks are stored for this device: measuring them (`stl-search bench peaks` stores them)"
        )
        known = None
    algorithm = read_encoders(encoders).judged.algorithm
    results = []
    with progress_bar("measuring") as progress:
        for number, shape in enumerate(shapes):
            progress("x".join(map(str, shape)), number, len(shapes))
            results.append(
                bench_layer(shape, algorithm, dtype=chosen, device=device, tiling=tiling, peaks=known)
            )
    t, dependence = algorithm.tile, neighbour_dependence_of(algorithm)
    said = [costs(t, algorithm.rank, shape[1], shape[2]) for shape in shapes]
    if as_json:
        echo_json(
            [
                {**r, "costs": asdict(cost), "neighbour_dependence": dependence}
                for r, cost in zip(results, said, strict=True)
            ]
        )
        return
    columns = ("N x K x M", "dense ms", "layer ms", "speedup", "predicted", "core", "all", "weights")
    shown = table("", columns, columns)
    for shape, r, cost in zip(shapes, results, said, strict=True):
        dense, own = (f"{1e3 * r[kind]['median_s']:.3g}" for kind in ("dense", "stl"))
        speedups = (f"{r[key]:.2f}x" for key in ("speedup", "predicted_speedup"))
        ratios = (f"{value:.2f}x" for value in (cost.core, cost.all, cost.weights))
        shown.add_row("x".join(map(str, shape)), dense, own, *speedups, *ratios)
    out.print(shown)
    scores = closed_form_scores(algorithm)
    out.print(
        f"accuracy: NMSE {scores.nmse:.3g} on {scores.tiles} tiles; rounding at {dtype} adds "
        f"{max(r['error'] for r in results):.2g} of the norm.",
        soft_wrap=True,
    )
    out.print(
        "core: fewer multiplications of the core alone; all: with encoding and decoding; weights: numbers of "
        "the encoded weights over the dense ones.",
        soft_wrap=True,
    )
    if dependence > 1e-5:
        out.print(
            f"A row's output moves by {dependence:.0%} of its norm when the other {t.n - 1} rows of its tile "
            "are replaced: mind that in retrieval, caching and evaluation.",
            soft_wrap=True,
        )


@bench.command()
@device_option
@_dtype_option
def peaks(device: str, dtype: str) -> None:
    """Measure and store what this device reaches; `bench layer` and `stl_kernels.predict` read it.

    \b
    Example:
      stl-search bench peaks --device cpu
    """
    from stl_kernels import measure_and_store_peaks

    chosen = _torch_dtype(dtype)
    check_device(device)
    with err.status("measuring peaks"):
        path = measure_and_store_peaks(chosen, device)[1]
    out.print(str(path), soft_wrap=True)
