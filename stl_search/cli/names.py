"""What options and arguments complete: names that the package knows, without what takes seconds to import.

A completion is a function of (context, parameter, what is typed). What does not belong here: choices and
files, which click completes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from stl_algebra.precision import PRECISIONS

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
    from stl_algebra.published import published

    white = [f"{tile.slug}-r{rank}" for tile, rank in published()]
    return [*white, *(f"{tile.slug}-r{rank}-{SORTED}" for tile, rank in published(SORTED))]


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


tiles, groups, families = _of(_tiles), _of(_groups), _of(_families)
precisions = _of(lambda: PRECISIONS)


def _or_file(names: Callable[[], Iterable[str]]) -> Completion:
    """Names, or a file."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*_of(names)(ctx, param, incomplete), CompletionItem(incomplete, type="file")]

    return complete


encoders, symmetries, matrices = _or_file(_encoders), _or_file(_symmetries), _or_file(_matrices)

encoders_argument = click.argument("encoders", type=click.Path(path_type=Path), shell_complete=encoders)
