"""Strassen-Tile layers for PyTorch: ops, backends, the layer, a prediction of when it pays, benchmarks."""

from stl_kernels.backends import BACKENDS, is_available
from stl_kernels.backends.packed import unpacked
from stl_kernels.device.peaks import Peaks, common_gpus, load_peaks, store_peaks
from stl_kernels.layers.calibration import Calibrator
from stl_kernels.layers.factors import STLFactors, algorithm_of
from stl_kernels.layers.functional import encode_weights, stl_matmul
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.options import LayerOptions
from stl_kernels.layers.two_level import TwoLevelLinear
from stl_kernels.speed.peak_measurement import measure_and_store_peaks, measure_peaks
from stl_kernels.speed.prediction import Prediction, predict

__all__ = [
    "BACKENDS",
    "Calibrator",
    "LayerOptions",
    "Peaks",
    "Prediction",
    "STLFactors",
    "STLLinear",
    "TwoLevelLinear",
    "algorithm_of",
    "common_gpus",
    "encode_weights",
    "is_available",
    "load_peaks",
    "measure_and_store_peaks",
    "measure_peaks",
    "predict",
    "stl_matmul",
    "store_peaks",
    "unpacked",
]
