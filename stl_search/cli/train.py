"""`stl-search train`: the group of its commands."""

from __future__ import annotations

import click

from stl_search.cli.common import Group


@click.group(
    cls=Group,
    sections={
        "Commands": {
            "vision": ("train_vision", "Train an image classifier from nothing, dense or with STL layers."),
            "lm": ("train_lm", "Fine-tune a causal language model with STL layers, 2:4 or LoRA."),
        }
    },
)
def train() -> None:
    """Train models with STL layers, and what they are compared with."""
