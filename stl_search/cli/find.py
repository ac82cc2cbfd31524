"""`stl-search find`: a search for an exact algorithm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import NothingFound
from stl_algebra.exact import METHODS, search
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.files import check_writable
from stl_algebra.published import read_encoders
from stl_search.cli.common import Duration, command_line, echo_json, err, json_option, out, progress_bar

_METHODS_HELP = "\n".join(f"    {name:<16}{line}" for name, (line, _) in METHODS.items())


@click.command(
    help=f"""Search for an exact algorithm of a format. Exit code 1 when the rank was not reached.

    \b
{_METHODS_HELP}

    What is better than the start is saved at once; Ctrl-C loses nothing that was found.

    \b
    Example:
      stl-search find 3x3x3 --rank 23 --method least-squares --budget 5m
    """
)
@click.argument("tile")
@click.option("--rank", type=int, help="Stop here. Default: one below the best that the package has.")
@click.option("--budget", type=Duration(), default=60.0, show_default="60s", help="Time to spend.")
@click.option("--method", type=click.Choice(list(METHODS)), default="flips", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="A file whose algorithm walks begin with."
)
@click.option("--afresh", is_flag=True, help="Neither begin with nor give what the package has.")
@click.option(
    "--out", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("results/exact")
)
@json_option
def find(
    tile: str,
    rank: int | None,
    budget: float,
    method: str,
    seed: int,
    source: Path | None,
    afresh: bool,
    folder: Path,
    as_json: bool,
) -> None:
    target = TileFormat.parse(tile)
    start = None if source is None else read_encoders(source).judged.algorithm
    steps = search(target, rank, method=method, budget=budget, seed=seed, afresh=afresh, start=start)
    goal = exact_algorithm(target).rank - 1 if rank is None else rank
    check_writable(folder)
    saved: tuple[Path, Judged] | None = None
    with progress_bar(method) as progress:
        for step in steps:
            progress(step.note, step.number, step.number + 1)
            if step.found is not None:
                saved = _save(step.found, folder)
                if step.found.rank > goal:
                    err.print(f"rank {step.found.rank} after {step.number} walks: {saved[0]}", soft_wrap=True)
    if saved is None:
        raise NothingFound(
            f"no exact algorithm of rank {goal} for {target} within {budget:.0f}s, method {method}"
        )
    path, judged = saved
    found = judged.algorithm
    if as_json:
        echo_json({"file": str(path), "rank": found.rank, **judged.verification.certificate()})
    else:
        out.print(f"{target} rank {found.rank}: {judged.verification.message}; {path}", soft_wrap=True)
    if found.rank > goal:
        raise SystemExit(1)


def _save(algorithm: BilinearAlgorithm, folder: Path) -> tuple[Path, Judged]:
    origin = replace(algorithm.provenance, command=command_line())
    judged = Judged.of(algorithm.renamed(algorithm.name, origin))
    return save_encoders(folder / f"{algorithm.name}.safetensors", judged), judged
