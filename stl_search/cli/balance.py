"""`stl-search balance`: the companion of an algorithm that amplifies rounding errors least."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from stl_algebra.algorithms.balance import PARENT
from stl_algebra.algorithms.balance import balance as balanced
from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.precision import PRECISIONS
from stl_algebra.published import read_encoders
from stl_search.cli.common import command_line, echo_json, json_option, out
from stl_search.cli.names import encoders_argument


@click.command()
@encoders_argument
@click.option(
    "--out", "path", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write."
)
@json_option
def balance(encoders: Path, path: Path, as_json: bool) -> None:
    """Change an algorithm's bases so that it amplifies rounding errors least.

    It computes the same up to float64 rounding; its entries become irrational, so the file says that it is
    not proven, and names the algorithm it was made from with that one's proof.

    \b
    Example:
      stl-search balance 4x4x4-r49 --out results/balanced/4x4x4-r49.safetensors
    """
    before = read_encoders(encoders).judged
    found = balanced(before.algorithm)
    after = Judged.of(found.renamed(found.name, replace(found.provenance, command=command_line())))
    save_encoders(path, after)
    if as_json:
        echo_json(
            {
                "file": str(path),
                "amplification": {"before": before.scores.amplification, "after": after.scores.amplification},
                "totals": {
                    d: {"before": before.scores.total(d), "after": after.scores.total(d)} for d in PRECISIONS
                },
                "parent": dict(found.provenance.parameters[PARENT]),
            }
        )
        return
    out.print(
        f"{found.tile} rank {found.rank}: amplification {before.scores.amplification:.4g} -> "
        f"{after.scores.amplification:.4g}; {after.verification.message}; {path}",
        markup=False,
        soft_wrap=True,
    )
