"""Recipes: how a site of a model is made cheaper; one file each, in a registry.

Importing the package registers all of them.
"""

from stl_models.recipes import (
    exact,
    neurons,
    pivoted_low_rank,
    shared_input,
    tiles,
    two_four,
    value_basis,
    whitened_low_rank,
)
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

__all__ = [
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
    "whitened_low_rank",
]
