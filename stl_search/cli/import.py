"""`stl-search import`: another program's file becomes an encoders file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.errors import InvalidInput
from stl_algebra.published import read_encoders
from stl_search.cli.common import command_line, echo_json, json_option, out


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path),
    help="Encoders file. Default: beside the file.",
)
@json_option
def import_(file: Path, target: Path | None, as_json: bool) -> None:
    """Read another program's algorithm and write it as an encoders file, proven on the way.

    \b
    .npz    u, v, w, or three matrices under a key "n,k,m"; .json u, v, w in rows or columns, optional z2
    .sms    sparse triples in three files ending in L.sms, R.sms, P.sms

    Rows or columns per product, C or C^T: what verifies is taken and said.

    \b
    Example:
      stl-search import scheme.json --out scheme.safetensors
    """
    stored = read_encoders(file)
    path = target or file.with_suffix(".safetensors")
    if path.suffix != ".safetensors":
        raise InvalidInput("out", expected="a file name that ends in .safetensors", got=str(path))
    judged = stored.judged
    origin = replace(judged.algorithm.provenance, command=command_line())
    algorithm = judged.algorithm.renamed(judged.algorithm.name, origin)
    save_encoders(path, Judged(algorithm, judged.verification, judged.scores))
    if as_json:
        certificate = judged.verification.certificate()
        echo_json({"file": str(path), "read_as": stored.conventions, "hint": stored.hint, **certificate})
        return
    out.print(f"{algorithm.tile} rank {algorithm.rank}: {judged.verification.message}", markup=False)
    out.print(f"read as: {stored.conventions}", markup=False, soft_wrap=True)
    if stored.hint:
        out.print(f"but: {stored.hint}", markup=False, soft_wrap=True)
    out.print(str(path), soft_wrap=True)
