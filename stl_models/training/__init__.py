"""Training of converted models: distillation towards the dense one."""

from stl_models.training.distillation import Distillation, distil

__all__ = ["Distillation", "distil"]
