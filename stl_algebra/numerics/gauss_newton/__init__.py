"""Gauss-Newton for nonlinear least squares: problems, solvers, the loop, fronts like torch and scipy."""

from stl_algebra.numerics.gauss_newton.front import LeastSquaresResult, minimise_least_squares
from stl_algebra.numerics.gauss_newton.minimise import GaussNewton, GaussNewtonResult, History, Iteration
from stl_algebra.numerics.gauss_newton.network import NetworkProblem
from stl_algebra.numerics.gauss_newton.optimizer import GaussNewtonOptimizer
from stl_algebra.numerics.gauss_newton.problem import FunctionProblem, Gram, Problem
from stl_algebra.numerics.gauss_newton.selector import select_solver
from stl_algebra.numerics.gauss_newton.solvers import Dense, Sketched, Solver, Structured

__all__ = [
    "Dense",
    "FunctionProblem",
    "GaussNewton",
    "GaussNewtonOptimizer",
    "GaussNewtonResult",
    "Gram",
    "History",
    "Iteration",
    "LeastSquaresResult",
    "NetworkProblem",
    "Problem",
    "Sketched",
    "Solver",
    "Structured",
    "minimise_least_squares",
    "select_solver",
]
