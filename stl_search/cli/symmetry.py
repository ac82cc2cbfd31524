"""`stl-search symmetry`: the stabiliser of an algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stl_search.cli.common import echo_json, json_option, out
from stl_search.cli.names import encoders_argument
from stl_search.pictures.files import check_picture_path, save_figure

if TYPE_CHECKING:
    from stl_algebra.families.orbits.stabiliser import Stabiliser
    from stl_algebra.groups import FiniteGroup


@click.command()
@encoders_argument
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Also draw the products by orbit: a .svg or .png file."
)
@json_option
def symmetry(encoders: Path, picture: Path | None, as_json: bool) -> None:
    """The symmetries of an algorithm: order, group, orbits of its products, permutations of the modes.

    Counted are the symmetries of the matrix multiplication tensor that permute the products: changes of bases
    P, Q, R up to factors (PGL), and with them permutations of X, W and Y^T, transposing where they are odd.
    Takes encoders files, other programs' (.npz, .json, .sms), published names, and strassen,
    winograd and laderman.

    \b
    Example:
      stl-search symmetry 4x4x4-r48
      stl-search symmetry laderman
      stl-search symmetry 4x4x4-r48 --picture orbits.svg
    """
    from stl_algebra.families.orbits.stabiliser import stabiliser
    from stl_algebra.published import read_encoders

    if picture is not None:
        # matplotlib takes a while to load and only pictures need it.
        from stl_search.pictures.products import orbits_picture

        check_picture_path(picture)
    found = stabiliser(read_encoders(encoders).judged.algorithm)
    if picture is not None:
        save_figure(orbits_picture(found), picture)
    group = found.symmetry
    whole = _described(None if group is None else group.group, found.order)
    part = _described(None if group is None else group.preserving, found.preserving_order)
    modes = [_modes(name) for name in found.modes]
    if as_json:
        orbits = [
            {"size": len(o), "matrix_ranks": list(r)} for o, r in zip(found.orbits, found.ranks, strict=True)
        ]
        echo_json(
            {
                "format": found.algorithm.tile.slug,
                "rank": found.algorithm.rank,
                "order": found.order,
                "infinite": found.dimension > 0,
                "continuous_dimension": found.dimension,
                "group": whole,
                "preserving": part,
                "orbits": orbits,
                "modes": modes,
                "generators": [str(g) for g in found.generators],
            }
        )
        return
    for line in _lines(found, whole, part, modes):
        out.print(line, markup=False, soft_wrap=True)
    if picture is not None:
        out.print(str(picture), markup=False, soft_wrap=True)


def _lines(
    found: Stabiliser, whole: dict[str, object], part: dict[str, object], modes: list[str]
) -> list[str]:
    sizes = [len(o) for o in found.orbits]
    orbits = " + ".join(map(str, sizes)) if len(sizes) < found.algorithm.rank else f"{len(sizes)} of size 1"
    lines = [
        f"{found.algorithm.tile} rank {found.algorithm.rank}: {found.order} symmetries, {_names(whole)}",
        f"that keep the modes: {found.preserving_order}, {_names(part)}",
        f"modes (X, W, Z = Y^T become): {', '.join(modes)}",
        f"orbits of products: {orbits}",
    ]
    if len(sizes) < found.algorithm.rank:
        ranks = ", ".join(f"{s}: {r}" for s, r in zip(sizes, found.ranks, strict=True))
        lines.append(f"ranks of X, W, Z matrices: {ranks}")
    if found.dimension:
        lines.append(
            f"and a continuous family of dimension {found.dimension}: the whole group is infinite, "
            "counted are its elements that are orthogonal in the bases of least amplification"
        )
    return lines


def _described(group: FiniteGroup | None, order: int) -> dict[str, object]:
    """Order, names and what tells groups of one order apart."""
    if group is None:
        return {"order": order, "names": []}
    import numpy as np

    from stl_algebra.groups import small_group_number, standard_names

    number = small_group_number(group)
    return {
        "order": order,
        "names": list(standard_names(group)),
        "small_group": None if number is None else list(number),
        "abelian": group.is_abelian,
        "element_orders": {str(e): int(c) for e, c in enumerate(np.bincount(group.element_orders)) if c},
        "centre": int(np.count_nonzero((group.table == group.table.T).all(axis=1))),
    }


def _names(described: dict[str, object]) -> str:
    names, orders = described["names"], described.get("element_orders")
    shown = " = ".join(names) if isinstance(names, list) and names else "a group without a name here"
    number = described.get("small_group")
    if isinstance(number, list):
        shown += f", SmallGroup({number[0]},{number[1]})"
    if isinstance(orders, dict) and orders.get("2"):
        shown += f", {orders['2']} involutions"
    return shown


def _modes(name: str) -> str:
    """ "WXZ" as "W^T X^T Z^T"."""
    odd = name in ("WXZ", "XZW", "ZWX")
    return " ".join(letter + ("^T" if odd else "") for letter in name)
