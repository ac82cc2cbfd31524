"""Whole models: their activations, conversion to Strassen-Tile layers, and training.

Importing the package lets transformers read converted models, where it is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stl_models.storage.transformers import register_when_imported

if TYPE_CHECKING:
    from stl_models.convert import convert_
    from stl_models.planning.config import ConversionConfig, Override
    from stl_models.planning.plan import Plan, make_plan
    from stl_models.report import Report
    from stl_models.storage.converted import load
    from stl_models.storage.saving import save
    from stl_models.training.replacing import replace_linears_

register_when_imported()

_PLACES = {
    "ConversionConfig": "planning.config",
    "Override": "planning.config",
    "Plan": "planning.plan",
    "Report": "report",
    "convert_": "convert",
    "load": "storage.converted",
    "make_plan": "planning.plan",
    "replace_linears_": "training.replacing",
    "save": "storage.saving",
}

__all__ = [
    "ConversionConfig",
    "Override",
    "Plan",
    "Report",
    "convert_",
    "load",
    "make_plan",
    "replace_linears_",
    "save",
]


def __getattr__(name: str) -> Any:
    """Names load when they are asked for."""
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f"stl_models.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
