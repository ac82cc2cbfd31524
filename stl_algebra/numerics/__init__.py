"""Numerics that stand on their own: dynamic least squares, sketches, Gauss-Newton, CP decompositions.

The only part of `stl_algebra` that imports torch; `import stl_algebra` does not load it.
"""

from stl_algebra.numerics.cp.levenberg_marquardt import CPFit, CPOptions, cp_levenberg_marquardt
from stl_algebra.numerics.gauss_newton import (
    Dense,
    FunctionProblem,
    GaussNewton,
    GaussNewtonOptimizer,
    LeastSquaresResult,
    NetworkProblem,
    Sketched,
    Structured,
    minimise_least_squares,
)
from stl_algebra.numerics.least_squares.journal import (
    JournaledLeastSquares,
    load_least_squares,
    save_least_squares,
)
from stl_algebra.numerics.least_squares.solve import Solution
from stl_algebra.numerics.least_squares.stopping import HeldOutStop
from stl_algebra.numerics.least_squares.stream import DynamicLeastSquares
from stl_algebra.numerics.moments import Moments, MomentSum
from stl_algebra.numerics.sketches import Sketch, make_sketch

__all__ = [
    "CPFit",
    "CPOptions",
    "Dense",
    "DynamicLeastSquares",
    "FunctionProblem",
    "GaussNewton",
    "GaussNewtonOptimizer",
    "HeldOutStop",
    "JournaledLeastSquares",
    "LeastSquaresResult",
    "MomentSum",
    "Moments",
    "NetworkProblem",
    "Sketch",
    "Sketched",
    "Solution",
    "Structured",
    "cp_levenberg_marquardt",
    "load_least_squares",
    "make_sketch",
    "minimise_least_squares",
    "save_least_squares",
]
