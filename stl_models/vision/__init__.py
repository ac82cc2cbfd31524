"""Vision transformers that are trained from nothing: T2T-ViT."""

from stl_models.vision.t2t import MODELS, T2TConfig, T2TViT, t2t_vit

__all__ = ["MODELS", "T2TConfig", "T2TViT", "t2t_vit"]
