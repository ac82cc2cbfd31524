"""`stl-search run`: a search from groups to encoders files and a report."""

from __future__ import annotations

from pathlib import Path

import click

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_search.cli.common import (
    Duration,
    command_line,
    conclude,
    dtype_option,
    err,
    json_option,
    patience_option,
    progress_bar,
)
from stl_search.cli.names import families as family_names
from stl_search.cli.names import groups as group_names
from stl_search.cli.names import matrices as matrix_names
from stl_search.cli.names import tiles as tile_names
from stl_search.matrices.names import DEFAULT_MATRICES, MATRICES_HELP
from stl_search.study.strategies.base import STRATEGIES
from stl_search.study.urls import without_password


@click.command()
@click.option(
    "--group", "groups", multiple=True, help="A group; repeat for several. See `stl-search groups`.",
    shell_complete=group_names,
)  # fmt: skip
@click.option(
    "--tile", default="4", show_default=True, help='Tile format: "4" or "4x4x2".', shell_complete=tile_names
)
@click.option("--rank", type=int, required=True, help="Products per tile triple.")
@click.option(
    "--family", "families", multiple=True, help="Families to use; all but `neighbours` by default.",
    shell_complete=family_names,
)  # fmt: skip
@dtype_option
@click.option(
    "--profile",
    help='Fit to features that are sorted and dealt out: "p1,...,pk", shares of variance, or "sorted", '
    "the shipped profile. Default: white tiles.",
)
@click.option(
    "--colour",
    help="Or fit to the second moments of layers' inputs, named as for --matrices: to the mean profile along "
    "the axes to which layers turn their tiles.",
    shell_complete=matrix_names,
)
@click.option(
    "--matrices",
    multiple=True,
    default=DEFAULT_MATRICES,
    show_default=True,
    help="What to score on; repeatable. " + MATRICES_HELP,
    shell_complete=matrix_names,
)
@click.option("--trials", type=click.IntRange(min=1), help="Work off this many entries of the plan.")
@click.option(
    "--budget",
    type=Duration(),
    help='Or search for this long: "90s", "5m"; scoring comes after. Default 60s.',
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default=STRATEGIES[0],
    show_default=True,
    help="What comes next within --budget.",
)
@click.option(
    "--storage",
    default="",
    help="URL of a PostgreSQL database shared by several machines, which `worker` joins; default: SQLite in "
    "the folder.",
)
@patience_option
@click.option(
    "--out", "folder", type=click.Path(path_type=Path), help="Run folder. Default: results/ and the settings."
)
@json_option
def run(
    groups: tuple[str, ...],
    tile: str,
    rank: int,
    families: tuple[str, ...],
    dtype: str,
    profile: str | None,
    colour: str | None,
    matrices: tuple[str, ...],
    trials: int | None,
    budget: float | None,
    jobs: int,
    seed: int,
    strategy: str,
    storage: str,
    patience: float,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Search encoders, score them on matrices, save the winners and write a report.

    A run that was stopped is continued by the same command. With --profile or --colour all closed-form
    scores are those of the profile, and say so; errors on matrices are measured on sorted features.

    \b
    Example:
      stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --budget 120s --out results/s3
    """
    from stl_algebra.groups.isomorphism import one_of_each_type
    from stl_search.judging.baselines import BASELINES
    from stl_search.runs import DEFAULT_BUDGET, default_folder, load_pairs, search_and_report
    from stl_search.study.plan import Settings
    from stl_search.study.run_folder import Run

    if trials is not None and budget is not None:
        raise InvalidInput("trials, budget", expected="one of them", got="both")
    if colour is not None:
        if profile is not None:
            raise InvalidInput("--profile, --colour", expected="one of them", got="both")
        profile = _profile_of(colour, TileFormat.parse(tile).k)
    settings = Settings(groups, tile, rank, dtype, seed, families, profile)
    for left_out, kept in one_of_each_type(groups)[1].items():
        err.print(f"{left_out} is the same group as {kept}: searched once", markup=False, soft_wrap=True)
    # Everything that can be wrong is looked at before the search begins.
    pairs = load_pairs(matrices)
    folder = folder or default_folder(settings)
    started = Run(folder, settings, tuple(matrices), storage, command_line(), strategy)
    if storage:
        join = f"stl-search worker --storage {without_password(storage)} --study {started.study_name}"
        err.print(f"others join by: {join}", markup=False, soft_wrap=True, highlight=False)
    if trials is None:
        err.print(
            f"{budget or DEFAULT_BUDGET:g} s are for the search; trials under way then, scoring on "
            f"{len(pairs)} X @ W with {len(BASELINES)} baselines and the report come after",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    with progress_bar("run") as progress:
        result = search_and_report(
            started, pairs, trials=trials, budget=budget, jobs=jobs, progress=progress, patience=patience
        )
    if result.interrupted:
        err.print("stopped; everything finished is kept, the same command continues")
    conclude(result.content, as_json)
    if result.interrupted:
        raise SystemExit(1)


def _profile_of(colour: str, k: int) -> str:
    """The profile of --colour; rounded, so that the same command asks for the same on any machine."""
    from stl_search.matrices.sorting import axis_profile, mean_profile
    from stl_search.runs import load_pairs

    try:
        pairs = load_pairs([colour])
    except InvalidInput as error:
        # The same message, under the name that was used.
        raise InvalidInput("--colour", expected=error.expected, got=error.got, hint=error.hint) from error
    found = mean_profile(pairs, k, axis_profile)
    return ",".join(f"{share:.5g}" for share in found.shares)
