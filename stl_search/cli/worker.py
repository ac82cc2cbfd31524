"""`stl-search worker`: join a study that a run has started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stl_search.cli.common import Duration, command_line, echo_json, err, json_option, out, patience_option

if TYPE_CHECKING:
    from stl_search.study.workers import State


@click.command()
@click.option("--storage", required=True, help="URL that the run was given: postgresql://user@host/name.")
@click.option("--study", "name", required=True, help="Name of the study, which run.json of the run says.")
@click.option(
    "--budget",
    type=Duration(),
    help='Work for this long: "90s", "5m", "3d"; default: as far as runs of the study have asked for.',
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--out", "folder", type=click.Path(path_type=Path),
    help="Where results are kept while the storage is away. Default: results/ and the study.",
)  # fmt: skip
@patience_option
@json_option
def worker(
    storage: str,
    name: str,
    budget: float | None,
    jobs: int,
    folder: Path | None,
    patience: float,
    as_json: bool,
) -> None:
    """Work on a study that a run has started, from this machine too.

    Any number of workers may come and go. A trial whose worker died is run again by another one.

    \b
    Example:
      stl-search worker --storage postgresql://me@host/search --study stl-0123456789abcdef --jobs 8
    """
    from stl_search.study.workers import join

    folder = folder or Path("results") / name
    last = 0

    def watch(state: State) -> None:
        nonlocal last
        if state.finished != last:
            last = state.finished
            best = "-" if state.best is None else f"{state.best:.4g}"
            err.print(f"{state.finished} trials, best total {best}", highlight=False)

    try:
        study, gained = join(
            storage, name, folder=folder, budget=budget, jobs=jobs, watch=watch, patience=patience,
            command=command_line(),
        )  # fmt: skip
    except KeyboardInterrupt:
        err.print("stopped; everything finished is kept, the same command continues")
        raise SystemExit(1) from None
    if as_json:
        echo_json({"study": study.name, "finished": last, "since_start": gained})
        return
    out.print(f"{study.name}: {last} trials are finished, {gained} of them since this began", soft_wrap=True)
