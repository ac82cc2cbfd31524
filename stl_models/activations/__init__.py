"""Activations and weights of a model's layers, captured into a file that the search reads."""

from stl_models.activations.captured import Captured
from stl_models.activations.capturing import CaptureOptions, Labels, capture

__all__ = ["CaptureOptions", "Captured", "Labels", "capture"]
