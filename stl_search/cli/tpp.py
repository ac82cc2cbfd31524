"""`stl-search tpp GROUP`: does a group realise a format?"""

from __future__ import annotations

import click

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.families.algebra_products import block_rank
from stl_algebra.groups import parse_group
from stl_algebra.representations import real_irreps
from stl_algebra.triples.realises import DEFAULT_NODES, realises
from stl_search.cli.common import echo_json, json_option, out


@click.command()
@click.argument("group")
@click.option("--tile", default="2", show_default=True, help='Tile format: "4" or "4x4x2".')
@click.option(
    "--nodes",
    type=click.IntRange(min=0),
    default=DEFAULT_NODES,
    show_default=True,
    help="Most nodes of the complete enumeration of subsets.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the annealing.")
@json_option
def tpp(group: str, tile: str, nodes: int, seed: int, as_json: bool) -> None:
    """Say whether GROUP realises a format: three subsets with the triple product property.

    Tries bounds, subgroups, annealing and, within --nodes, all subsets; says whether the answer is proven.

    \b
    Example:
      stl-search tpp S3 --tile 2
    """
    parsed, shape = parse_group(group), TileFormat.parse(tile)
    found = realises(parsed, shape, nodes=nodes, seed=seed)
    triple = found.triple
    subsets = None if triple is None else [[int(g) for g in part] for part in (triple.s, triple.t, triple.u)]
    data = {
        "group": parsed.name,
        "order": parsed.order,
        "tile": shape.slug,
        "realised": found.realised,
        "proven": found.proven,
        "method": found.method,
        "reason": found.reason,
        "collisions": None if triple is None else triple.collisions(),
        "subsets": subsets,
        "products": sum(block_rank(i.size, i.real_type) for i in real_irreps(parsed)),
    }
    if as_json:
        echo_json(data)
        return
    undecided = "does not realise" if found.proven else "may or may not realise"
    verdict = "realises" if found.realised else undecided
    out.print(f"[bold]{parsed.name}[/] of order {parsed.order} {verdict} {shape}: {found.reason}")
    if triple is not None:
        label = "S, T, U" if found.realised else f"The best triple found has {data['collisions']} collisions"
        out.print(f"{label}: {data['subsets']}", markup=False)
    out.print(
        f"One product in its real group algebra takes {data['products']} multiplications; the definition of "
        f"{shape} takes {shape.products}."
    )
