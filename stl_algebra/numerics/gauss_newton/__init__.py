"""Gauss-Newton for nonlinear least squares: problems, solvers, the loop and a front for networks."""

from stl_algebra.numerics.gauss_newton.minimise import GaussNewton, GaussNewtonResult, Iteration
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
    "Iteration",
    "NetworkProblem",
    "Problem",
    "Sketched",
    "Solver",
    "Structured",
    "select_solver",
]
