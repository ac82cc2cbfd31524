"""What options and arguments complete: names that the package knows, without what takes seconds to import.

A completion is a function of (context, parameter, what is typed). What does not belong here: choices and
files, which click completes itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from stl_algebra.precision import PRECISIONS

#: What `convert --recipe` and `train vision --model` take: the keys of `stl_models.recipes.RECIPES` and of
#: `stl_models.vision.MODELS`, which torch comes with.
RECIPE_NAMES = (
    "exact", "neurons", "pivoted-low-rank", "shared-input", "tiles", "2:4", "2:4-sparsegpt", "2:4-wanda",
    "value-basis", "low-rank-whitened",
)  # fmt: skip
VISION_NAMES = ("t2t-vit-7", "t2t-vit-14", "t2t-vit-small-32", "t2t-vit-7-32")
#: What torch calls the devices that commands run on.
DEVICE_NAMES = ("cpu", "cuda")

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _of(names: Callable[[], Iterable[str]]) -> Completion:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def _tiles() -> list[str]:
    from stl_algebra.published import published

    return list(dict.fromkeys(tile.slug for tile, _ in published()))


def _encoders() -> list[str]:
    from stl_algebra.algorithms.profile import SORTED
    from stl_algebra.exact.catalogue import NAMED
    from stl_algebra.published import OWN, published

    white = [f"{tile.slug}-r{rank}" for tile, rank in published()]
    return [
        *white,
        *(f"{tile.slug}-r{rank}-{SORTED}" for tile, rank in published(SORTED)),
        *(f"{tile.slug}-r{rank}-{dtype}" for dtype in OWN for tile, rank in published(dtype=dtype)),
        *NAMED,
    ]


def _groups() -> tuple[str, ...]:
    from stl_algebra.groups.grammar import NAME_TABLE

    return NAME_TABLE


def _families() -> Iterable[str]:
    from stl_algebra.families.registry import FAMILIES

    return FAMILIES


def _symmetries() -> Iterable[str]:
    from stl_algebra.exact.symmetries import NAMED_SYMMETRIES

    return NAMED_SYMMETRIES


def _matrices() -> tuple[str, ...]:
    from stl_search.matrices.names import BUNDLED, ENSEMBLE_NAMES

    return (*ENSEMBLE_NAMES, "random", *BUNDLED)


def _gpus() -> list[str]:
    """The table of common GPUs, read where it lies: the package that it belongs to imports torch."""
    found = find_spec("stl_kernels")
    if found is None or found.origin is None:
        return []
    table = json.loads((Path(found.origin).parent / "data" / "gpus.json").read_text(encoding="utf-8"))
    return list(table["gpus"])


def predicted_devices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Devices that times are predicted for; GPUs in lower case, too, where they are begun so."""
    known = [*DEVICE_NAMES, *_gpus()]
    if incomplete and incomplete == incomplete.lower():
        known = [name.lower() for name in known]
    return _of(lambda: known)(ctx, param, incomplete)


tiles, groups, families = _of(_tiles), _of(_groups), _of(_families)
precisions = _of(lambda: PRECISIONS)
recipes, vision_models, devices = (
    _of(lambda: RECIPE_NAMES), _of(lambda: VISION_NAMES), _of(lambda: DEVICE_NAMES)
)  # fmt: skip


def _or_file(names: Callable[[], Iterable[str]]) -> Completion:
    """Names, or a file."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*_of(names)(ctx, param, incomplete), CompletionItem(incomplete, type="file")]

    return complete


encoders, symmetries, matrices = _or_file(_encoders), _or_file(_symmetries), _or_file(_matrices)

encoders_argument = click.argument("encoders", type=click.Path(path_type=Path), shell_complete=encoders)
