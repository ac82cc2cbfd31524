"""`stl-search group`: all that is known of one group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.markup import escape

from stl_algebra.errors import TooLarge
from stl_algebra.families.algebra_products import block_rank
from stl_algebra.groups import (
    FiniteGroup,
    parse_group,
    small_group_number,
    standard_names,
    subgroup_classes,
)
from stl_algebra.groups.foreign import convention
from stl_algebra.groups.words import letters, words
from stl_algebra.representations import RealType, character_table, complex_irreps, real_irreps
from stl_algebra.representations.character_values import exact_character_table
from stl_search.cli.common import echo_json, json_option, out, table
from stl_search.cli.names import groups as group_names

#: Subgroups that `group` looks for before it says that there are too many: seconds.
_MOST_SUBGROUPS = 5000

#: Classes of subgroups and of elements that fit on a page; the rest is summed up, and complete in JSON.
_MOST_ROWS, _MOST_COLUMNS = 80, 60


@click.command()
@click.argument("name", shell_complete=group_names)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Draw the Cayley graph to a .svg, .png or .html file.",
)
@json_option
def group(name: str, picture: Path | None, as_json: bool) -> None:
    """Show a group: its names, subgroups, characters, real irreps and their multiplication ranks.

    \b
    Example:
      stl-search group S4 --picture s4.svg
    """
    g = parse_group(name)
    if picture is not None:
        # matplotlib takes a while to load and only pictures need it.
        from stl_search.pictures.cayley import FORMATS, save_picture
        from stl_search.pictures.files import check_picture_path

        check_picture_path(picture, FORMATS)
    data = _described(g)
    if picture is not None:
        data["picture"] = str(save_picture(g, picture))
    if as_json:
        echo_json(data)
        return
    kind = "abelian" if g.is_abelian else "non-abelian"
    out.print(
        f"[bold]{escape(g.name)}[/]: {kind}, order {g.order}, {len(g.classes)} classes, "
        f"{len(data['real_irreps'])} real irreps",
        soft_wrap=True,
    )
    others = [n for n in data["isomorphic_to"] if n != g.name]
    if others:
        out.print(f"isomorphic to: {', '.join(others)}", markup=False, soft_wrap=True)
    if data["small_group"]:
        out.print("GAP: SmallGroup({}, {})".format(*data["small_group"]))
    if data["note"]:
        out.print(data["note"], soft_wrap=True)
    named = [f"{x['letter']} of order {x['order']}" for x in data["generators"]]
    out.print(f"generators: {', '.join(named) or 'none'}", soft_wrap=True)
    _print_subgroups(g, data["subgroups"])
    _print_characters(g, data)
    shown = table(
        "\nReal blocks",
        ("block", "type", "dimension of the irrep", "products"),
        numbers=("dimension of the irrep", "products"),
    )
    for i in data["real_irreps"]:
        shown.add_row(i["block"], i["type"], str(i["dimension"]), str(i["products"]))
    out.print(shown)
    out.print(f"One product in the real group algebra takes {data['products']} multiplications.")
    if any(i["type"] == RealType.QUATERNIONIC.value for i in data["real_irreps"]):
        out.print("Quaternionic blocks take 8 real products for each product in H.")
    if picture is not None:
        out.print(f"Cayley graph: {data['picture']}", markup=False, soft_wrap=True)


def _described(g: FiniteGroup) -> dict[str, Any]:
    """Everything about a group, for JSON and for the terminal."""
    irreps = real_irreps(g)
    spelled, number = words(g), small_group_number(g)
    return {
        "name": g.name,
        "order": g.order,
        "abelian": g.is_abelian,
        "isomorphic_to": list(standard_names(g)),
        "small_group": number and list(number),
        "note": convention(g.name),
        "generators": [
            {"letter": letter, "element": x, "order": int(g.element_orders[x])}
            for letter, x in zip(letters(g), g.generators, strict=True)
        ],
        "classes": [
            {
                "name": label,
                "size": len(c),
                "element_order": int(g.element_orders[c[0]]),
                "representative": spelled[c[0]],
            }
            for label, c in zip(_class_names(g), g.classes, strict=True)
        ],
        "subgroups": _subgroups(g),
        "characters": [
            [[float(v.real), float(v.imag)] for v in row] for row in np.round(character_table(g), 12)
        ],
        "characters_exact": exact_character_table(g),
        "complex_irreps": [{"degree": i.degree, "type": i.real_type.value} for i in complex_irreps(g)],
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


def _class_names(g: FiniteGroup) -> list[str]:
    """1a, 2a, 2b, ... as in the Atlas of finite groups: element order and a letter."""
    names: list[str] = []
    seen: dict[int, int] = {}
    for c in g.classes:
        order = int(g.element_orders[c[0]])
        number = seen[order] = seen.get(order, -1) + 1
        letter = ""
        while number >= 0:
            letter = chr(ord("a") + number % 26) + letter
            number = number // 26 - 1
        names.append(f"{order}{letter}")
    return names


def _subgroups(g: FiniteGroup) -> list[dict[str, Any]] | None:
    """Conjugacy classes of subgroups; None when there are too many."""
    try:
        found = subgroup_classes(g, _MOST_SUBGROUPS)
    except TooLarge:
        return None
    spelled = words(g)
    return [
        {
            "order": c.order,
            "index": c.index,
            "conjugates": c.length,
            "normal": c.is_normal,
            "type": next(iter(standard_names(c.as_group())), ""),
            "generators": [spelled[x] for x in c.generators],
        }
        for c in found
    ]


def _print_subgroups(g: FiniteGroup, found: list[dict[str, Any]] | None) -> None:
    if found is None:
        out.print(f"\nSubgroups: more than {_MOST_SUBGROUPS}, not listed")
        return
    total = sum(c["conjugates"] for c in found)
    title = f"\n{total} subgroups in {len(found)} classes of conjugates"
    if len(found) > _MOST_ROWS:
        shown = table(
            title + " (--json lists them)",
            ("order", "classes", "subgroups", "normal"),
            numbers=("order", "classes", "subgroups", "normal"),
        )
        for order in sorted({c["order"] for c in found}):
            same = [c for c in found if c["order"] == order]
            count = sum(c["conjugates"] for c in same)
            shown.add_row(str(order), str(len(same)), str(count), str(sum(c["normal"] for c in same)))
    else:
        shown = table(
            title,
            ("order", "index", "conjugates", "", "type", "generators"),
            numbers=("order", "index", "conjugates"),
        )
        for c in found:
            normal = "normal" if c["normal"] else ""
            shown.add_row(
                *(str(c[k]) for k in ("order", "index", "conjugates")),
                normal,
                c["type"],
                ", ".join(c["generators"]),
            )
    out.print(shown)


def _print_characters(g: FiniteGroup, data: dict[str, Any]) -> None:
    """The character table, as many columns at a time as the terminal is wide."""
    exact: list[list[str]] = data["characters_exact"]
    if len(exact) > _MOST_COLUMNS:
        out.print(f"\nCharacters: {len(exact)} irreps; --json has the table")
        return
    heads = [c["name"] for c in data["classes"]]
    sizes = [str(c["size"]) for c in data["classes"]]
    widths = [
        max(len(head), len(size), *(len(row[i]) for row in exact)) + 2
        for i, (head, size) in enumerate(zip(heads, sizes, strict=True))
    ]
    room = out.width - 24
    start = 0
    while start < len(heads):
        stop, used = start + 1, widths[start]
        while stop < len(heads) and used + widths[stop] <= room:
            used += widths[stop]
            stop += 1
        shown = table("\nCharacters" if start == 0 else "", ("", "type", *heads[start:stop]), heads)
        shown.add_row("", "size", *sizes[start:stop], style="dim")
        for number, (irrep, row) in enumerate(zip(data["complex_irreps"], exact, strict=True)):
            shown.add_row(f"χ{number + 1}", irrep["type"], *row[start:stop])
        out.print(shown)
        start = stop
    if any("ζ" in value for row in exact for value in row):
        out.print("ζn is exp(2πi/n).")
