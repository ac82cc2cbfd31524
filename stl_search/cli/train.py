"""`stl-search train`: the group of its commands."""

from __future__ import annotations

import click

from stl_search.cli.common import Group


@click.group(
    cls=Group,
    lazy={"vision": ("train_vision", "Train an image classifier from nothing, dense or with STL layers.")},
)
def train() -> None:
    """Train models with STL layers, and what they are compared with."""
