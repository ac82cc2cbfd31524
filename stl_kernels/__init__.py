"""Strassen-Tile layers for PyTorch: ops, backends, the layer, a prediction of when it pays, benchmarks."""

from stl_kernels.backends import BACKENDS, is_available
from stl_kernels.functional import encode_weights, stl_matmul
from stl_kernels.layer import STLFactors, STLLinear, algorithm_of
from stl_kernels.roofline import Peaks, Prediction, predict

__all__ = [
    "BACKENDS",
    "Peaks",
    "Prediction",
    "STLFactors",
    "STLLinear",
    "algorithm_of",
    "encode_weights",
    "is_available",
    "predict",
    "stl_matmul",
]
