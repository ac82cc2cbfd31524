"""`stl-search run` and `stl-search report`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stl_algebra.errors import InvalidInput
from stl_algebra.families import FAMILIES
from stl_algebra.groups.isomorphism import one_of_each_type
from stl_search.cli.common import (
    Duration,
    command_line,
    dtype_option,
    echo_json,
    err,
    json_option,
    out,
    progress_bar,
)
from stl_search.frontier.winners import read_winners
from stl_search.matrices.pair import MatrixPair
from stl_search.matrices.readers import MATRICES_HELP, load_matrices
from stl_search.report.content import Content, collect
from stl_search.report.write import write_report
from stl_search.runs import finish
from stl_search.study.plan import Settings
from stl_search.study.queue import trial_table
from stl_search.study.run_folder import Run, read_run, start_run
from stl_search.study.storage import open_storage, open_study
from stl_search.study.workers import State, search


def _pairs(specs: tuple[str, ...]) -> list[MatrixPair]:
    return [pair for spec in dict.fromkeys(specs) for pair in load_matrices(spec)]


@click.command()
@click.option(
    "--group", "groups", multiple=True, help="A group; repeat for several. See `stl-search groups`."
)
@click.option("--tile", default="4", show_default=True, help='Tile format: "4" or "4x4x2".')
@click.option("--rank", type=int, required=True, help="Products per tile triple.")
@click.option("--family", "families", multiple=True, help="Families to use; all by default.")
@dtype_option
@click.option(
    "--matrices",
    multiple=True,
    default=("gaussian", "minilm"),
    show_default=True,
    help="What to score on; repeatable. " + MATRICES_HELP,
)
@click.option("--trials", type=click.IntRange(min=1), help="Work off this many entries of the plan.")
@click.option("--budget", type=Duration(), help='Or search for this long: "90s", "5m". Default 60s.')
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--storage",
    default="",
    help="Optuna storage URL shared by several machines; default: SQLite in the folder.",
)
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
    matrices: tuple[str, ...],
    trials: int | None,
    budget: float | None,
    jobs: int,
    seed: int,
    storage: str,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Search encoders, score them on matrices, save the winners and write a report.

    A run that was stopped is continued by the same command.

    \b
    Example:
      stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --budget 120s --out results/s3
    """
    if trials is not None and budget is not None:
        raise InvalidInput("trials, budget", expected="one of them", got="both")
    names = tuple(families) or tuple(f for f in FAMILIES if groups or not FAMILIES[f].uses_group)
    if seed < 0:
        raise InvalidInput("seed", expected="a number of at least 0", got=seed)
    settings = Settings(groups, tile, rank, dtype, seed, names).checked()
    for left_out, kept in one_of_each_type(groups)[1].items():
        err.print(f"{left_out} is the same group as {kept}: searched once", markup=False, soft_wrap=True)
    if folder is None:
        label = "-".join([*(g.replace("/", "_") for g in settings.groups), settings.tile, f"r{rank}", dtype])
        folder = Path("results") / "".join(c if c.isalnum() or c in "-_^.,()x" else "_" for c in label)
    # Everything that can be wrong is looked at before the search begins.
    pairs = _pairs(matrices)
    started = Run(folder, settings, tuple(matrices), storage, command_line())
    start_run(started)
    if trials is None and budget is None:
        budget = 60.0
    study = None
    interrupted = False
    try:
        with _watching(trials, budget) as watch:
            study = search(started, trials=trials, budget=budget, jobs=jobs, watch=watch)
    except KeyboardInterrupt:
        interrupted = True
        err.print("stopped; everything finished is kept, the same command continues")
        study = open_study(open_storage(started.storage_url), started.study_name, settings)
    with progress_bar("scoring") as progress:
        content = finish(started, study, pairs, trials, progress)
    if content is None:
        err.print(
            "no trial has finished yet" if interrupted else "no family has a candidate for these settings"
        )
        raise SystemExit(1)
    _conclude(content, as_json)
    if interrupted:
        raise SystemExit(1)


class _watching:
    """A progress bar over entries or seconds, with the best total so far."""

    def __init__(self, trials: int | None, budget: float | None) -> None:
        self.total = float(trials) if trials is not None else float(budget or 0)
        self.by_trials = trials is not None
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> _watching:
        self.bar.start()
        self.task = self.bar.add_task("searching", total=self.total, note="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, state: State) -> None:
        done = state.finished if self.by_trials else min(state.seconds, self.total)
        best = "-" if state.best is None else f"{state.best:.4g}"
        self.bar.update(self.task, completed=done, note=f"{state.finished} trials, best total {best}")


def _conclude(content: Content, as_json: bool) -> None:
    chosen, settings = content.chosen, content.run.settings
    key = f"total_{settings.dtype}"
    if as_json:
        echo_json(
            {
                "folder": str(content.run.folder),
                "winners": {
                    str(rank): {
                        **w.scores,
                        "name": w.algorithm.name,
                        "digest": w.algorithm.digest,
                        "exact": w.exact,
                    }
                    for rank, w in content.winners.items()
                },
                "report": str(content.run.folder / "report.html"),
            }
        )
        return
    out.print(
        f"[bold]{chosen.algorithm.name}[/], {chosen.algorithm.tile} rank {chosen.algorithm.rank}: "
        f"{settings.dtype} total {chosen.scores[key]:.4g}, white NMSE {chosen.scores['nmse_white']:.4g}, "
        f"A {chosen.scores['amplification']:.4g}",
        soft_wrap=True,
    )
    out.print(chosen.exactness, soft_wrap=True)
    out.print(f"report: {content.run.folder / 'report.html'}", soft_wrap=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--matrices", multiple=True, help="Score on these instead. " + MATRICES_HELP)
@json_option
def report(folder: Path, matrices: tuple[str, ...], as_json: bool) -> None:
    """Write the report of a run folder again, from its storage and encoders files.

    \b
    Example:
      stl-search report results/s3 --matrices random
    """
    stored = read_run(folder)
    pairs = _pairs(matrices or stored.matrices)
    winners = read_winners(folder)
    with progress_bar("scoring") as progress:
        study = open_study(open_storage(stored.storage_url), stored.study_name, stored.settings)
        content = collect(stored, winners, pairs, trial_table(study), progress)
    write_report(content, folder)
    _conclude(content, as_json)
