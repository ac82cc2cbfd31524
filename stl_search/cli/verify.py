"""`stl-search verify`: proof in exact arithmetic."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from stl_algebra.algorithms.additions import count_additions
from stl_algebra.algorithms.verify import RINGS, holds_over
from stl_algebra.algorithms.verify import verify as verify_exactly
from stl_algebra.published import read_encoders
from stl_search.cli.common import echo_json, json_option, out
from stl_search.cli.names import encoders_argument


@click.command()
@encoders_argument
@click.option("--ring", type=click.Choice(RINGS), help="Ask for this ring alone, not for the smallest.")
@json_option
def verify(encoders: Path, ring: str | None, as_json: bool) -> None:
    """Check in exact arithmetic that a file's algorithm multiplies matrices. Exit code 1 when it does not.

    Takes encoders files, other programs' (.npz, .json, .sms) and the names that `symmetry` takes; says how it
    read them.

    \b
    Example:
      stl-search verify results/strassen/encoders/2x2x2-r7.safetensors
      stl-search verify scheme.json --ring 'GF(2)'
    """
    stored = read_encoders(encoders)
    algorithm = stored.judged.algorithm
    # Repeated here: a file's word is no proof.
    outcome = verify_exactly(algorithm)
    holds = outcome.exact if ring is None else holds_over(algorithm, ring)
    additions = count_additions(algorithm)
    if as_json:
        data = {**outcome.certificate(), "message": outcome.message, "wrong_entries": outcome.wrong_entries}
        read = {"read_as": stored.conventions, "hint": stored.hint, "additions": asdict(additions)}
        asked = {} if ring is None else {"asked": ring, "holds": holds}
        echo_json({**data, **read, **asked})
    else:
        message = outcome.message if ring is None else f"{'exact' if holds else 'not exact'} over {ring}"
        out.print(f"{algorithm.tile} rank {algorithm.rank}: {message}", markup=False, soft_wrap=True)
        out.print(
            f"read as: {stored.conventions}; additions {sum(additions.plain)}, "
            f"{sum(additions.shared)} with shared sums",
            markup=False,
            soft_wrap=True,
        )
        if not holds and stored.hint:
            out.print(f"but: {stored.hint}", markup=False, soft_wrap=True)
    if not holds:
        raise SystemExit(1)
