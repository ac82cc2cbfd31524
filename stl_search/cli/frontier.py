"""`stl-search frontier`: the best encoders of folders, or the exact algorithms of all small formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.errors import InvalidInput
from stl_search.cli.common import dtype_option, echo_json, json_option, out

_ORIGINS = {
    "seed": "searched or written out",
    "sum-n": "direct sum along n of",
    "sum-k": "direct sum along k of",
    "sum-m": "direct sum along m of",
    "kronecker": "Kronecker product of",
}


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--exact", is_flag=True, help="Instead: exact algorithms of all formats up to 5, verified.")
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False),
    help="Also copy what is better than this folder's files into it, and nothing else.",
)  # fmt: skip
@click.option(
    "--ratio", type=click.FloatRange(min=1),
    help="Instead: what the package has of at least this ratio, by error, with time and memory.",
)  # fmt: skip
@click.option(
    "--shape", help="With --ratio: N x K x M of the product X (N, K) times W (K, M), as 4096x4096x4096."
)
@click.option(
    "--device", help="With --ratio and --shape: cpu or cuda as measured here, or a GPU of the table, as h200."
)
@dtype_option
@json_option
def frontier(
    folders: tuple[Path, ...],
    exact: bool,
    into: Path | None,
    ratio: float | None,
    shape: str | None,
    device: str | None,
    dtype: str,
    as_json: bool,
) -> None:
    """The best encoders of one or more folders, by format, tiles they are for, and rank. Default: results/.

    \b
    Example:
      stl-search frontier results/
      stl-search frontier --exact
      stl-search frontier --ratio 2 --shape 4096x4096x4096 --device h200
    """
    if ratio is not None:
        if exact or folders or into:
            raise InvalidInput(
                "ratio", expected="no folders, --exact or --into beside it", got="one of them",
                hint="with --ratio the question is about what the package has",
            )  # fmt: skip
        _print_choice(ratio, shape, device, dtype, as_json)
        return
    if shape or device:
        raise InvalidInput("shape", expected="--ratio beside --shape and --device", got="none")
    if exact:
        if folders:
            raise InvalidInput("folder", expected="none together with --exact", got=str(folders[0]))
        _print_exact_table(as_json)
        return
    roots = folders or (Path("results"),)
    rows: list[dict[str, Any]] = []
    for root in roots:
        if not root.exists():
            raise InvalidInput("folder", expected="an existing folder", got=str(root))
        for path in sorted(root.rglob("*.safetensors") if root.is_dir() else [root]):
            judged = load_encoders(path).judged()
            algorithm = judged.algorithm
            rows.append(
                {
                    "tile": algorithm.tile.slug,
                    "rank": algorithm.rank,
                    "ratio": algorithm.ratio,
                    "name": algorithm.name,
                    "tiles": judged.scores.tiles,
                    "total": judged.scores.total(dtype),
                    **judged.scores.as_json(),
                    "exact": judged.exact,
                    "file": str(path),
                }
            )
    best: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: r["total"]):
        best.setdefault((row["tile"], row["tiles"], row["rank"]), row)
    kept = [best[key] for key in sorted(best)]
    if into is not None:
        from stl_search.frontier.winners import keep_better

        written = {path.stem for path in keep_better([Path(row["file"]) for row in kept], into, dtype)}
        for row in kept:
            row["copied"] = f"{row['tile']}-r{row['rank']}" in written
    if as_json:
        echo_json(kept)
        return
    if not kept:
        raise InvalidInput("folder", expected="encoders files", got=f"none in {', '.join(map(str, roots))}")
    table = Table(box=None, header_style="bold")
    for column in ("tile", "tiles", "rank", "ratio", "NMSE", "A", f"total {dtype}", "exact", "name"):
        table.add_column(column, justify="left" if column in ("tile", "tiles", "name", "exact") else "right")
    for row in kept:
        table.add_row(
            row["tile"], row["tiles"], str(row["rank"]), f"{row['ratio']:.2f}",
            f"{row['nmse_white' if row['tiles'] == 'white' else 'nmse_profile']:.4g}",
            f"{row['amplification']:.4g}", f"{row['total']:.4g}", "yes" if row["exact"] else "", row["name"],
        )  # fmt: skip
    out.print(table)
    if into is not None:
        copied = ", ".join(f"{row['tile']}-r{row['rank']}" for row in kept if row["copied"])
        out.print(f"better than in {into}: {copied or 'none'}", soft_wrap=True)


def _print_choice(ratio: float, shape: str | None, device: str | None, dtype: str, as_json: bool) -> None:
    """What fits a ratio, with predicted times where a shape and a device are given."""
    from stl_algebra.precision import precision
    from stl_search.frontier.choosing import candidates

    if (shape is None) != (device is None):
        raise InvalidInput("shape", expected="--shape together with --device", got="one of them")
    sizes = None if shape is None else parse_shape(shape)
    rows = []
    found = candidates(ratio, dtype)
    for candidate in found:
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
        if sizes is not None and device is not None:
            from stl_kernels.device.peaks import common_gpus
            from stl_kernels.speed.prediction import predict

            known = {name.lower(): name for name in common_gpus()}
            device = known.get(device.lower(), device)
            # Two levels run as such or written out as one, whichever is faster.
            times = min(
                (predict(sizes, form, precision(dtype).stored, device) for form in candidate.forms),
                key=lambda prediction: prediction.total,
            )
            row |= {"seconds": times.total, "dense_seconds": times.dense, "speedup": times.speedup}
        rows.append(row)
    if as_json:
        echo_json({"ratio": ratio, "shape": sizes, "device": device, "dtype": dtype, "candidates": rows})
        return
    table = Table(box=None, header_style="bold")
    columns = ["name", "tile", "rank", "ratio", f"total {dtype}", "A", "weights", "activations"]
    for column in [*columns, *(["predicted", "speedup"] if sizes else [])]:
        table.add_column(column, justify="left" if column in ("name", "tile") else "right")
    fastest = min((row["seconds"] for row in rows if "seconds" in row), default=None)
    for row in rows:
        times_ = [f"{row['seconds'] * 1e3:.3g} ms", f"{row['speedup']:.2f}"] if "seconds" in row else []
        table.add_row(
            row["name"], row["tile"], str(row["rank"]), f"{row['ratio']:.2f}", f"{row['total']:.4g}",
            f"{row['amplification']:.3g}", f"{row['weights']:.2f}x", f"{row['activations']:.2f}x", *times_,
            style="bold" if fastest is not None and row["seconds"] == fastest else "",
        )  # fmt: skip
    out.print(table)
    best = rows[0]
    out.print(f"least error: {best['name']}, total {best['total']:.4g}", soft_wrap=True)
    if fastest is not None:
        quick = next(row for row in rows if row["seconds"] == fastest)
        words = f"{quick['speedup']:.2f} times as fast as the dense product"
        out.print(f"predicted fastest on {device}: {quick['name']}, {words}", soft_wrap=True)


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


def _print_exact_table(as_json: bool) -> None:
    """The exact algorithms of all formats up to 5 beside the best known ranks."""
    from stl_algebra.exact.catalogue import best_known_ranks
    from stl_search.frontier.exact_table import exact_table_rows

    rows, known = exact_table_rows(), best_known_ranks()
    if as_json:
        echo_json({"source_of_best_known": known["source"], "as_of": known["date"], "rows": rows})
        return
    grid = Table(box=None, header_style="bold")
    for column in ("tile", "nkm", "rank", "best known", "gap", "exact over", "A", "origin"):
        grid.add_column(column, justify="left" if column in ("tile", "exact over", "origin") else "right")
    for row in rows:
        best = str(row["best_known"])
        origin = " ".join([_ORIGINS.get(row["origin"], row["origin"]), *row["parts"]])
        if row["best_known_integers"] != row["best_known"]:
            best += f" ({row['best_known_integers']} over Z)"
        grid.add_row(
            row["tile"], str(row["products"]), str(row["rank"]), best,
            str(row["gap"]) if row["gap"] else "", row["ring"] if row["exact"] else "not exact",
            f"{row['amplification']:.1f}", origin,
            style="" if row["gap"] else "bold",
        )  # fmt: skip
    out.print(grid)
    equal = sum(row["gap"] == 0 for row in rows)
    out.print(
        f"{equal} of {len(rows)} formats have the best known rank (bold); "
        f"best known: {known['source']}, {known['date']}.",
        soft_wrap=True,
    )
