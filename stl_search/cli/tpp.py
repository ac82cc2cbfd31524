"""`stl-search tpp GROUP`: does a group realise a format? And the census of groups."""

from __future__ import annotations

import re
from typing import Any

import click

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.families.algebra_products import block_rank
from stl_algebra.groups import FiniteGroup, parse_group
from stl_algebra.groups.words import words
from stl_algebra.representations import real_irreps
from stl_algebra.triples.census import COMPLETE_BELOW, census
from stl_algebra.triples.realises import DEFAULT_NODES, Realisation, realises
from stl_search.cli.common import echo_json, json_option, out, progress_bar, table
from stl_search.cli.names import groups as group_names
from stl_search.cli.names import tiles as tile_names

#: Nodes of an enumeration within a census, where hundreds are made.
_CENSUS_NODES = 20_000


class Orders(click.ParamType[tuple[int, int]]):
    """Least and most order from "2..60" or "24"."""

    name = "orders"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Both at least 1, in order."""
        match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", str(value))
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= least <= most:
            self.fail(f'expected an order or two such as "2..60", got {value!r}', param, ctx)
        return least, most


@click.command()
@click.argument("group", required=False, shell_complete=group_names)
@click.option(
    "--tile", default="2", show_default=True, help='Tile format: "4" or "4x4x2".', shell_complete=tile_names
)
@click.option(
    "--nodes", type=click.IntRange(min=0), help="Most nodes of the complete enumeration of subsets."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the annealing.")
@click.option("--census", "asked", is_flag=True, help="Instead: which groups realise <n,n,n>, by order.")
@click.option("--order", "orders", type=Orders(), default="2..24", show_default=True, help="Of the census.")
@json_option
def tpp(
    group: str | None,
    tile: str,
    nodes: int | None,
    seed: int,
    asked: bool,
    orders: tuple[int, int],
    as_json: bool,
) -> None:
    """Say whether GROUP realises a format: three subsets with the triple product property.

    Tries bounds, subgroups, annealing and, within --nodes, all subsets; says whether the answer is proven.

    \b
    Example:
      stl-search tpp S3 --tile 2
      stl-search tpp --census --order 2..60
    """
    if asked == (group is not None):
        raise InvalidInput("group", expected="a group, or --census", got="both" if asked else "neither")
    if asked:
        _census(orders, _CENSUS_NODES if nodes is None else nodes, seed, as_json)
        return
    parsed, shape = parse_group(str(group)), TileFormat.parse(tile)
    found = realises(parsed, shape, nodes=DEFAULT_NODES if nodes is None else nodes, seed=seed)
    data = _described(parsed, shape, found)
    if as_json:
        echo_json(data)
        return
    undecided = "does not realise" if found.proven else "may or may not realise"
    verdict = "realises" if found.realised else undecided
    out.print(f"[bold]{parsed.name}[/] of order {parsed.order} {verdict} {shape}: {found.reason}")
    if found.triple is not None:
        if not found.realised:
            out.print(f"The best triple found has {data['collisions']} collisions:")
        for letter, part in zip("STU", data["words"], strict=True):
            out.print(f"{letter} = {{{', '.join(part)}}}", markup=False)
    out.print(
        f"One product in its real group algebra takes {data['products']} multiplications; the definition of "
        f"{shape} takes {shape.products}."
    )


def _described(group: FiniteGroup, tile: TileFormat, found: Realisation) -> dict[str, Any]:
    """The answer as JSON: subsets as element numbers, and as words in the generators that `group` shows."""
    triple = found.triple
    subsets = None if triple is None else [[int(g) for g in part] for part in (triple.s, triple.t, triple.u)]
    spelled = words(group)
    return {
        "group": group.name,
        "order": group.order,
        "tile": tile.slug,
        "realised": found.realised,
        "proven": found.proven,
        "method": found.method,
        "reason": found.reason,
        "collisions": None if triple is None else triple.collisions(),
        "subsets": subsets,
        "words": None if subsets is None else [[spelled[g] for g in part] for part in subsets],
        "products": sum(block_rank(i.size, i.real_type) for i in real_irreps(group)),
    }


def _census(orders: tuple[int, int], nodes: int, seed: int, as_json: bool) -> None:
    rows = []
    with progress_bar("census") as progress:
        for row in census(*orders, nodes, seed):
            progress(row.group.name, row.group.order - orders[0], orders[1] - orders[0] + 1)
            rows.append(row)
    if as_json:
        echo_json(
            [
                {
                    "group": row.group.name,
                    "order": row.group.order,
                    "largest": row.largest,
                    "proven": row.proven,
                    "answers": {
                        n: {"realised": a.realised, "proven": a.proven, "method": a.method}
                        for n, a in row.answers.items()
                    },
                }
                for row in rows
            ]
        )
        return
    shown = table("", ("order", "group", "largest <n,n,n>", "how", "larger ones"), numbers=("order",))
    for row in rows:
        last = row.answers[max(row.answers)]
        how = row.answers[row.largest].method if row.largest > 1 else ""
        beyond = f"excluded by {last.method}" if last.proven else "not found, not excluded"
        square = f"<{row.largest},{row.largest},{row.largest}>" if row.largest > 1 else "none"
        shown.add_row(str(row.group.order), row.group.name, square, how, beyond)
    out.print(shown)
    note = f"All groups of order below {COMPLETE_BELOW}"
    if orders[1] >= COMPLETE_BELOW:
        note += ", the named ones above"
    out.print(f"{note}. An abelian group needs an order of at least nkm and saves nothing.", soft_wrap=True)
