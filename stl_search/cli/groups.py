"""`stl-search groups`: the named groups, and the grammar of all names."""

from __future__ import annotations

from typing import Any

import click

from stl_algebra.groups import (
    GRAMMAR,
    NAME_TABLE,
    parse_group,
)
from stl_algebra.representations import real_irreps
from stl_search.cli.common import echo_json, json_option, out, table


@click.command()
@click.option("--order", type=click.IntRange(min=1), help="Only groups of this order.")
@json_option
def groups(order: int | None, as_json: bool) -> None:
    """List named groups of order up to 60, and the grammar of names.

    Every group of order below 32 is in the list.

    \b
    Example:
      stl-search groups --order 24
    """
    rows: list[dict[str, Any]] = []
    for name in NAME_TABLE:
        g = parse_group(name)
        if order is None or g.order == order:
            blocks = [i.block_name for i in real_irreps(g)]
            rows.append({"name": name, "order": g.order, "classes": len(g.classes), "blocks": blocks})
    if as_json:
        echo_json(rows)
        return
    if rows:
        rows_table = table(
            "", ("name", "order", "classes", "real group algebra"), numbers=("order", "classes")
        )
        for row in sorted(rows, key=lambda r: (r["order"], r["name"])):
            rows_table.add_row(
                row["name"], str(row["order"]), str(row["classes"]), _direct_sum(row["blocks"])
            )
        out.print(rows_table)
    else:
        out.print(f"No group of order {order} is in the list, which ends at order 60.")
    out.print("\nAny finite group has a name:\n" + GRAMMAR, markup=False, soft_wrap=True)


def _direct_sum(blocks: list[str]) -> str:
    counts = {b: blocks.count(b) for b in blocks}
    return " + ".join(b if c == 1 else f"{c} {b}" for b, c in counts.items())
