"""Commands on encoders files: `evaluate`, `verify`, `frontier`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.scores import closed_form_scores
from stl_algebra.algorithms.verify import verify as verify_exactly
from stl_algebra.errors import InvalidInput
from stl_search.cli.common import dtype_option, echo_json, json_option, out, progress_bar
from stl_search.cli.find import print_exact_table
from stl_search.frontier.export import FORMATS, export_algorithm
from stl_search.judging.evaluation import Row
from stl_search.judging.evaluation import evaluate as run_evaluation
from stl_search.matrices.readers import MATRICES_HELP, load_matrices


@click.command()
@click.argument("encoders", type=click.Path(path_type=Path))
@click.option(
    "--matrices", multiple=True, default=("random", "minilm"), show_default=True, help=MATRICES_HELP
)
@dtype_option
@json_option
def evaluate(encoders: Path, matrices: tuple[str, ...], dtype: str, as_json: bool) -> None:
    """Score an encoders file and every baseline at equal multiplications on matrices.

    \b
    Example:
      stl-search evaluate results/s3/encoders/4x4x4-r32.safetensors --matrices minilm
    """
    algorithm = load_encoders(encoders).algorithm
    pairs = [p for spec in dict.fromkeys(matrices) for p in load_matrices(spec)]
    scores = closed_form_scores(algorithm)
    if f"total_{dtype}" not in scores:
        raise InvalidInput("dtype", expected="bf16, fp16, tf32 or fp32", got=dtype)
    with progress_bar("scoring") as progress:
        rows = run_evaluation([algorithm], pairs, dtype, [max(1.0, algorithm.ratio)], progress)
    if as_json:
        echo_json({"closed_form": scores, "rows": [r.as_dict() for r in rows]})
        return
    out.print(
        f"[bold]{algorithm.name or encoders.stem}[/] {algorithm.tile} rank {algorithm.rank}, "
        f"ratio {algorithm.ratio:.2f}"
    )
    out.print(
        f"white NMSE {scores['nmse_white']:.4g}, A {scores['amplification']:.4g}, "
        f"{dtype} total {scores[f'total_{dtype}']:.4g}"
    )
    for pair in pairs:
        out.print(_table(pair.name, [r for r in rows if r.matrices == pair.name]))


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, box=None, header_style="bold", title_justify="left")
    table.add_column("method")
    for column in ("ratio", "NMSE", "spectral", "total"):
        table.add_column(column, justify="right")
    for r in sorted(rows, key=lambda r: r.total):
        style = "bold" if r.kind == "encoders" else ""
        table.add_row(
            r.method, f"{r.ratio:.2f}", f"{r.nmse:.4g}", f"{r.spectral:.4g}", f"{r.total:.4g}", style=style
        )
    return table


@click.command()
@click.argument("encoders", type=click.Path(path_type=Path))
@json_option
def verify(encoders: Path, as_json: bool) -> None:
    """Check in exact arithmetic that a file's algorithm multiplies matrices. Exit code 1 when it does not.

    \b
    Example:
      stl-search verify results/strassen/encoders/2x2x2-r7.safetensors
    """
    algorithm = load_encoders(encoders).algorithm
    outcome = verify_exactly(algorithm)
    if as_json:
        echo_json(
            {**outcome.certificate(), "message": outcome.message, "wrong_entries": outcome.wrong_entries}
        )
    else:
        out.print(f"{algorithm.tile} rank {algorithm.rank}: {outcome.message}")
    if not outcome.exact:
        raise SystemExit(1)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--exact", is_flag=True, help="Instead: exact algorithms of all formats up to 5, verified.")
@dtype_option
@json_option
def frontier(folders: tuple[Path, ...], exact: bool, dtype: str, as_json: bool) -> None:
    """The best encoders of one or more folders, by format and rank. Default: results/.

    \b
    Example:
      stl-search frontier results/
      stl-search frontier --exact
    """
    if exact:
        if folders:
            raise InvalidInput("folder", expected="none together with --exact", got=str(folders[0]))
        print_exact_table(as_json)
        return
    roots = folders or (Path("results"),)
    rows: list[dict[str, Any]] = []
    for root in roots:
        if not root.exists():
            raise InvalidInput("folder", expected="an existing folder", got=str(root))
        for path in sorted(root.rglob("*.safetensors") if root.is_dir() else [root]):
            algorithm = load_encoders(path).algorithm
            scores = closed_form_scores(algorithm)
            if f"total_{dtype}" not in scores:
                raise InvalidInput("dtype", expected="bf16, fp16, tf32 or fp32", got=dtype)
            rows.append(
                {
                    "tile": algorithm.tile.slug,
                    "rank": algorithm.rank,
                    "ratio": algorithm.ratio,
                    "name": algorithm.name,
                    "total": scores[f"total_{dtype}"],
                    **scores,
                    "exact": verify_exactly(algorithm).exact,
                    "file": str(path),
                }
            )
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: r["total"]):
        best.setdefault((row["tile"], row["rank"]), row)
    kept = [best[key] for key in sorted(best)]
    if as_json:
        echo_json(kept)
        return
    if not kept:
        raise InvalidInput("folder", expected="encoders files", got=f"none in {', '.join(map(str, roots))}")
    table = Table(box=None, header_style="bold")
    for column in ("tile", "rank", "ratio", "NMSE", "A", f"total {dtype}", "exact", "name"):
        table.add_column(column, justify="left" if column in ("tile", "name", "exact") else "right")
    for row in kept:
        table.add_row(
            row["tile"], str(row["rank"]), f"{row['ratio']:.2f}", f"{row['nmse_white']:.4g}",
            f"{row['amplification']:.4g}", f"{row['total']:.4g}", "yes" if row["exact"] else "", row["name"],
        )  # fmt: skip
    out.print(table)


@click.command()
@click.argument("encoders", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help=f"File: {', '.join(FORMATS)}.",
)
def export(encoders: Path, target: Path) -> None:
    """Write an algorithm in another format, chosen by the file's suffix.

    \b
    .npz    encode_x, encode_w, decode in float64; and u, v, w with one column per product
    .json   the same factors as lists; integers or fractions where the algorithm is exact
    .safetensors   an encoders file, verified again

    \b
    Example:
      stl-search export results/s3/encoders/4x4x4-r32.safetensors --to winner.npz
    """
    out.print(str(export_algorithm(load_encoders(encoders), target)), soft_wrap=True)
