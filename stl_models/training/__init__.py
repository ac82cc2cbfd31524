"""Training: fresh models with STL layers, and distillation of converted ones towards the dense one."""

from stl_models.training.distillation import Distillation, distil
from stl_models.training.parameters import MapDecay, Rates, parameter_groups
from stl_models.training.replacing import TrainingOptions, random_encoders, replace_linears_

__all__ = [
    "Distillation",
    "MapDecay",
    "Rates",
    "TrainingOptions",
    "distil",
    "parameter_groups",
    "random_encoders",
    "replace_linears_",
]
