"""`stl-search groups` and `stl-search group NAME`."""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from rich.table import Table

from stl_algebra.families.algebra_products import block_rank
from stl_algebra.groups import GRAMMAR, NAME_TABLE, parse_group
from stl_algebra.representations import RealType, character_table, complex_irreps, real_irreps
from stl_search.cli.common import echo_json, json_option, out


@click.command()
@click.option("--order", type=int, help="Only groups of this order.")
@json_option
def groups(order: int | None, as_json: bool) -> None:
    """List named groups of order up to 60, and the grammar of names.

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
    table = Table(box=None, header_style="bold")
    for column in ("name", "order", "classes", "real group algebra"):
        table.add_column(column, justify="right" if column in ("order", "classes") else "left")
    for row in sorted(rows, key=lambda r: (r["order"], r["name"])):
        table.add_row(row["name"], str(row["order"]), str(row["classes"]), _direct_sum(row["blocks"]))
    out.print(table)
    out.print("\nAny finite group has a name:\n" + GRAMMAR, markup=False)


def _direct_sum(blocks: list[str]) -> str:
    counts = {b: blocks.count(b) for b in blocks}
    return " + ".join(b if c == 1 else f"{c} {b}" for b, c in counts.items())


@click.command()
@click.argument("name")
@json_option
def group(name: str, as_json: bool) -> None:
    """Show a group: classes, character table, real irreps and their multiplication ranks.

    \b
    Example:
      stl-search group S4
    """
    g = parse_group(name)
    irreps = real_irreps(g)
    characters = character_table(g)
    data = {
        "name": g.name,
        "order": g.order,
        "abelian": g.is_abelian,
        "generators": list(g.generators),
        "classes": [{"size": len(c), "element_order": int(g.element_orders[c[0]])} for c in g.classes],
        "characters": [[[float(v.real), float(v.imag)] for v in row] for row in np.round(characters, 12)],
        "real_irreps": [
            {
                "dimension": i.dimension,
                "type": i.real_type.value,
                "block": i.block_name,
                "products": block_rank(i.size, i.real_type),
            }
            for i in irreps
        ],
        "products": sum(block_rank(i.size, i.real_type) for i in irreps),
    }
    if as_json:
        echo_json(data)
        return
    kind = "abelian" if g.is_abelian else "non-abelian"
    out.print(
        f"[bold]{g.name}[/]: {kind}, order {g.order}, {len(g.classes)} classes, {len(irreps)} real irreps"
    )
    if len(g.classes) <= 16:
        table = Table(title="Characters", box=None, header_style="bold", title_justify="left")
        table.add_column("degree", justify="right")
        table.add_column("type")
        for c in g.classes:
            table.add_column(f"{len(c)} of order {g.element_orders[c[0]]}", justify="right")
        for irrep, row in zip(complex_irreps(g), characters, strict=True):
            table.add_row(str(irrep.degree), irrep.real_type.value, *(_shown(v) for v in row))
        out.print(table)
    table = Table(title="Real blocks", box=None, header_style="bold", title_justify="left")
    for column in ("block", "type", "dimension of the irrep", "products"):
        table.add_column(column, justify="left" if column in ("block", "type") else "right")
    for i in irreps:
        table.add_row(i.block_name, i.real_type.value, str(i.dimension), str(block_rank(i.size, i.real_type)))
    out.print(table)
    out.print(f"One product in the real group algebra takes {data['products']} multiplications.")
    if any(i.real_type is RealType.QUATERNIONIC for i in irreps):
        out.print("Quaternionic blocks take 8 real products for each product in H.")


def _shown(value: complex) -> str:
    real, imaginary = (f"{x:.3f}".rstrip("0").rstrip(".") for x in (value.real, value.imag))
    real, imaginary = (x.replace("-0", "0") if x == "-0" else x for x in (real, imaginary))
    if abs(value.imag) < 1e-9:
        return real
    return (
        f"{imaginary}i"
        if abs(value.real) < 1e-9
        else f"{real}{'' if imaginary.startswith('-') else '+'}{imaginary}i"
    )
