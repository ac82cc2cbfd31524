"""Whole models: their activations, conversion to Strassen-Tile layers, and training.

Importing the package lets transformers read converted models, where it is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stl_models.transformers import register_when_imported

if TYPE_CHECKING:
    from stl_models.config import ConversionConfig, Override
    from stl_models.convert import convert_
    from stl_models.converted import load
    from stl_models.plan import Plan, make_plan
    from stl_models.report import Report
    from stl_models.saving import save

register_when_imported()

_PLACES = {
    "ConversionConfig": "config",
    "Override": "config",
    "Plan": "plan",
    "Report": "report",
    "convert_": "convert",
    "load": "converted",
    "make_plan": "plan",
    "save": "saving",
}

__all__ = ["ConversionConfig", "Override", "Plan", "Report", "convert_", "load", "make_plan", "save"]


def __getattr__(name: str) -> Any:
    """Names load when they are asked for."""
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f"stl_models.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
