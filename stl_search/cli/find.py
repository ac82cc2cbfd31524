"""`stl-search find`: a search for an exact algorithm."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput, NothingFound, TooLarge
from stl_algebra.exact import METHODS, search
from stl_algebra.exact.search import rank_to_reach
from stl_algebra.exact.symmetries import NAMED_SYMMETRIES
from stl_algebra.files import check_writable, write_atomically
from stl_algebra.published import read_encoders
from stl_search.cli.common import Duration, command_line, echo_json, err, json_option, out, progress_bar
from stl_search.cli.names import encoders as encoders_names
from stl_search.cli.names import symmetries as symmetry_names
from stl_search.cli.names import tiles as tile_names

if TYPE_CHECKING:
    from stl_algebra.families.orbits.generated import GeneratedSymmetry

_SYMMETRIES_HELP = "\n".join(f"    {name:<16}{named.summary}" for name, named in NAMED_SYMMETRIES.items())
_METHODS_HELP = "\n".join(f"    {name:<23}{line}" for name, (line, _) in METHODS.items())


@click.command(
    help=f"""Search for an exact algorithm of a format. Exit code 1 when the rank was not reached.

    \b
{_METHODS_HELP}

    With --symmetry the search is for an algorithm that a group of symmetries of the tensor maps to itself,
    from Gaussian starts inside the invariant space; methods and what the package has play no part. It takes

    \b
{_SYMMETRIES_HELP}
    ...             generators "XWZ(2 1;2 1;2 1)|ZXW(1 2;1 2;1 2)": modes, then P, Q and R
    ...             a group with representations, "S3/2/cyclic", or a file: the symmetries of its algorithm

    What is better than the start is saved at once, and so are solutions that are exact in floats only. A
    search that was stopped goes on with its next walk or start when the same command is given again.

    \b
    Example:
      stl-search find 3x3x3 --rank 23 --method least-squares --budget 5m
      stl-search find 4x4x4 --symmetry rational-48 --budget 10m
      stl-search find 5x5x5 --rank 93 --method cyclic-flips-modulo-2 --afresh --budget 30m
      stl-search find 4x5x5 --rank 76 --method flips-modulo-2 --restrict --seed 1 --budget 16m
    """
)
@click.argument("tile", shell_complete=tile_names)
@click.option("--rank", type=int, help="Stop here. Default: one below the best that the package has.")
@click.option("--budget", type=Duration(), default=60.0, show_default="60s", help="Time to spend.")
@click.option("--method", type=click.Choice(list(METHODS)), default="flips", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="A file whose algorithm walks begin with.",
    shell_complete=encoders_names,
)  # fmt: skip
@click.option(
    "--symmetry", help="A symmetry that the algorithm has: a name, generators, a group or a file.",
    shell_complete=symmetry_names,
)  # fmt: skip
@click.option(
    "--orbits", help='Sizes of its orbits, "32+16". Default: those of a named symmetry, else drawn.'
)
@click.option("--afresh", is_flag=True, help="Neither begin with nor give what the package has.")
@click.option("--restrict", is_flag=True, help="The same for this format alone: begin with others.")
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
    jobs: int,
    source: Path | None,
    symmetry: str | None,
    orbits: str | None,
    afresh: bool,
    restrict: bool,
    folder: Path,
    as_json: bool,
) -> None:
    target = TileFormat.parse(tile)
    chosen, sizes = None, _sizes(orbits)
    if symmetry is not None:
        from stl_algebra.families.orbits.named import symmetry_of

        chosen, known = (_of_file(symmetry), None) if Path(symmetry).is_file() else symmetry_of(symmetry)
        if chosen.tile != target:
            raise InvalidInput("--symmetry", expected=f"one of {target}", got=f"one of {chosen.tile}")
        if known is not None and rank in (None, known.rank):
            rank, sizes = known.rank, sizes or known.orbit_sizes
    elif sizes:
        raise InvalidInput("--orbits", expected="a --symmetry with it", got=orbits)
    goal = rank_to_reach(target, rank)
    start, begins = _start(source, afresh, restrict)
    how = method + begins
    if chosen is not None:
        how = f"symmetry-{sha256(f'{chosen} {sizes}'.encode()).hexdigest()[:8]}"
    progress_file = folder / f"{target.slug}-r{goal}-{how}-seed{seed}.json"
    done = _numbers_done(progress_file)
    if chosen is not None:
        if source is not None or afresh or restrict or method != "flips":
            raise InvalidInput(
                "--symmetry", expected="no --from, --afresh, --restrict or --method with it", got=symmetry
            )
        from stl_algebra.families.orbits.search import search_with_symmetry

        steps = search_with_symmetry(
            target, goal, chosen, orbit_sizes=sizes, budget=budget, seed=seed, first=done, jobs=jobs
        )
    else:
        steps = search(
            target, rank, method=method, budget=budget, seed=seed, start=start, first=done, jobs=jobs
        )
    check_writable(folder)
    saved: tuple[Path, Judged] | None = None
    finished: set[int] = set()
    with progress_bar(how) as progress:
        for step in steps:
            finished.add(step.number)
            while done in finished:
                finished.remove(done)
                done += 1
            progress(step.note, step.number + 1, step.number + 2)
            if step.floats is not None:
                name = f"{target.slug}-r{step.floats.rank}-seed{seed}-start{step.number}"
                save_encoders(folder / "floats" / f"{name}.safetensors", step.floats)
            if step.found is not None:
                saved = _save(step.found, folder)
                if step.found.rank > goal:
                    err.print(f"rank {step.found.rank}, walk {step.number}: {saved[0]}", soft_wrap=True)
            write_atomically(progress_file, json.dumps({"done": done}) + "\n")
    if saved is not None and saved[1].algorithm.rank <= goal:
        progress_file.unlink(missing_ok=True)
    if saved is None:
        raise NothingFound(
            f"no exact algorithm of rank {goal} for {target} within {budget:.0f}s, "
            + (f"method {method}" if symmetry is None else f"symmetry {symmetry}")
        )
    path, judged = saved
    found = judged.algorithm
    if as_json:
        echo_json({"file": str(path), "rank": found.rank, **judged.verification.certificate()})
    else:
        out.print(f"{target} rank {found.rank}: {judged.verification.message}; {path}", soft_wrap=True)
    if found.rank > goal:
        raise SystemExit(1)


def _start(source: Path | None, afresh: bool, restrict: bool) -> tuple[BilinearAlgorithm | str, str]:
    """What walks begin with, and what sets the searches that begin elsewhere apart in the name of a file."""
    asked = {"--from": source is not None, "--afresh": afresh, "--restrict": restrict}
    given = [name for name, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise InvalidInput(given[-1], expected=f"no {given[0]} with it", got="both")
    if source is not None:
        algorithm = read_encoders(source).judged.algorithm
        return algorithm, f"-from-{algorithm.digest[:8]}"
    return ("definition", "-afresh") if afresh else ("larger", "-restrict") if restrict else ("package", "")


def _sizes(orbits: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in orbits.split("+")) if orbits else ()
    except ValueError as error:
        raise InvalidInput("--orbits", expected='sizes such as "32+16"', got=repr(orbits)) from error


def _of_file(path: str) -> GeneratedSymmetry:
    """The symmetries of a file's algorithm.

    Raises:
        InvalidInput: it has none but the identity.
        TooLarge: they are too many.
    """
    from stl_algebra.families.orbits.stabiliser import stabiliser

    found = stabiliser(read_encoders(path).judged.algorithm)
    if found.order == 1:
        raise InvalidInput(
            "--symmetry", expected="an algorithm with symmetries", got=f"{path}, which has none"
        )
    if found.symmetry is None:
        raise TooLarge(f"--symmetry {path}: its algorithm has {found.order} symmetries")
    return found.symmetry


def _numbers_done(path: Path) -> int:
    """How many walks or starts of this very search are done; 0 where it is new or the file is damaged."""
    try:
        return max(0, int(json.loads(path.read_text(encoding="utf-8"))["done"]))
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _save(algorithm: BilinearAlgorithm, folder: Path) -> tuple[Path, Judged]:
    origin = replace(algorithm.provenance, command=command_line())
    judged = Judged.of(algorithm.renamed(algorithm.name, origin))
    return save_encoders(folder / f"{algorithm.name}.safetensors", judged), judged
