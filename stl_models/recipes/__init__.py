"""Recipes: how a site of a model is made cheaper; one file each, in a registry.

Importing the package registers all of them.
"""

from stl_models.recipes import exact, neurons, pivoted_low_rank, shared_input, tiles, two_four, value_basis
from stl_models.recipes.base import (
    RECIPES,
    Choice,
    Engine,
    Fit,
    Layer,
    Recipe,
    Shape,
    Site,
    curve,
    get_recipe,
)
from stl_models.recipes.two_four import PEERS

__all__ = [
    "PEERS",
    "RECIPES",
    "Choice",
    "Engine",
    "Fit",
    "Layer",
    "Recipe",
    "Shape",
    "Site",
    "curve",
    "exact",
    "get_recipe",
    "neurons",
    "pivoted_low_rank",
    "shared_input",
    "tiles",
    "two_four",
    "value_basis",
]
