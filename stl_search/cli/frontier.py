"""`stl-search frontier`: the best encoders of folders, or the exact algorithms of all small formats."""

from __future__ import annotations

from pathlib import Path

import click

from stl_algebra.algorithms.tile import as_tile
from stl_algebra.errors import InvalidInput
from stl_search.cli.common import dtype_option, echo_json, json_option, out, table
from stl_search.cli.names import families as family_names
from stl_search.cli.names import groups as group_names
from stl_search.cli.names import predicted_devices
from stl_search.cli.names import tiles as tile_names
from stl_search.frontier.listing import Wanted, listed

_ORIGINS = {
    "seed": "searched or written out",
    "sum-n": "direct sum along n of",
    "sum-k": "direct sum along k of",
    "sum-m": "direct sum along m of",
    "kronecker": "Kronecker product of",
}


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--exact", is_flag=True, help="Instead: exact algorithms of all formats up to 6, verified.")
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
    "--device",
    shell_complete=predicted_devices,
    help="With --ratio and --shape: cpu or cuda as measured here, or a GPU of the table, as h200.",
)
@click.option(
    "--tile",
    "tiles",
    multiple=True,
    help='Only this format, "4" or "4x4x2"; repeatable.',
    shell_complete=tile_names,
)
@click.option(
    "--family",
    "families",
    multiple=True,
    help="Only what this family made; repeatable.",
    shell_complete=family_names,
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="Only what was made from this group; repeatable.",
    shell_complete=group_names,
)
@click.option("--least-ratio", type=float, default=0.0, help="Only what saves at least so many times.")
@click.option("--total", type=float, default=float("inf"), help="Only up to this total at the dtype.")
@click.option("--proven", is_flag=True, help="Only what is exact.")
@click.option("--commands", is_flag=True, help="Also print the command that made each.")
@dtype_option
@json_option
def frontier(
    folders: tuple[Path, ...],
    exact: bool,
    into: Path | None,
    ratio: float | None,
    shape: str | None,
    device: str | None,
    tiles: tuple[str, ...],
    families: tuple[str, ...],
    groups: tuple[str, ...],
    least_ratio: float,
    total: float,
    proven: bool,
    commands: bool,
    dtype: str,
    as_json: bool,
) -> None:
    """The best encoders of one or more folders, by format, tiles they are for, and rank. Default: results/.

    \b
    Example:
      stl-search frontier results/ --tile 4 --least-ratio 2
      stl-search frontier --exact
      stl-search frontier --ratio 2 --shape 4096x4096x4096 --device h200
    """
    if ratio is not None:
        from stl_search.cli.choice import print_choice

        if exact or folders or into:
            raise InvalidInput(
                "ratio", expected="no folders, --exact or --into beside it", got="one of them",
                hint="with --ratio the question is about what the package has",
            )  # fmt: skip
        print_choice(ratio, shape, device, dtype, as_json)
        return
    if shape or device:
        raise InvalidInput("shape", expected="--ratio beside --shape and --device", got="none")
    if exact:
        if folders:
            raise InvalidInput("folder", expected="none together with --exact", got=str(folders[0]))
        _print_exact_table(as_json)
        return
    roots = folders or (Path("results"),)
    wanted = Wanted(tuple(map(as_tile, tiles)), families, _canonical(groups), least_ratio, total, proven)
    kept = listed(roots, dtype, wanted)
    if into is not None:
        from stl_search.frontier.winners import keep_better

        written = {path.stem for path in keep_better([Path(row["file"]) for row in kept], into, dtype)}
        for row in kept:
            row["copied"] = f"{row['tile']}-r{row['rank']}" in written
    if as_json:
        echo_json(kept)
        return
    if not kept:
        kind = "" if wanted == Wanted() else " of that kind"
        raise InvalidInput(
            "folder", expected="encoders files", got=f"none{kind} in {', '.join(map(str, roots))}"
        )
    numbers = ("rank", "ratio", "NMSE", "A", f"total {dtype}")
    shown = table("", ("tile", "tiles", *numbers, "exact", "name"), numbers)
    # A profile's shares are figures.
    shown.columns[1].no_wrap = True
    made = []
    for row in kept:
        shown.add_row(
            row["tile"], row["tiles"], str(row["rank"]), f"{row['ratio']:.2f}",
            f"{row['nmse_white' if row['tiles'] == 'white' else 'nmse_profile']:.4g}",
            f"{row['amplification']:.4g}", f"{row['total']:.4g}", "yes" if row["exact"] else "", row["name"],
        )  # fmt: skip
        if commands:
            made.append((f"{row['tile']}-r{row['rank']}", row["command"] or "not recorded"))
    out.print(shown)
    for name, command in made:
        out.print(f"{name}: {command}", markup=False, soft_wrap=True)
    if into is not None:
        copied = ", ".join(f"{row['tile']}-r{row['rank']}" for row in kept if row["copied"])
        out.print(f"better than in {into}: {copied or 'none'}", soft_wrap=True)


def _canonical(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Names as provenance has them."""
    if not groups:
        return ()
    from stl_algebra.groups import parse_group

    return tuple(parse_group(name).name for name in groups)


def _print_exact_table(as_json: bool) -> None:
    """The exact algorithms of all formats up to 6 beside the best known ranks."""
    from stl_algebra.exact.catalogue import best_known_ranks
    from stl_search.frontier.exact_table import exact_table_rows

    rows, known = exact_table_rows(), best_known_ranks()
    if as_json:
        echo_json({"source_of_best_known": known["source"], "as_of": known["date"], "rows": rows})
        return
    numbers = ("nkm", "rank", "best known", "gap", "A")
    grid = table("", ("tile", "nkm", "rank", "best known", "gap", "exact over", "A", "origin"), numbers)
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
        f"{equal} of {len(rows)} formats have the best known rank, where no gap stands; "
        f"best known: {known['source']}, {known['date']}.",
        soft_wrap=True,
    )
