"""`stl-search verify`: proof in exact arithmetic."""

from __future__ import annotations

from pathlib import Path

import click

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.verify import verify as verify_exactly
from stl_search.cli.common import echo_json, json_option, out


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
