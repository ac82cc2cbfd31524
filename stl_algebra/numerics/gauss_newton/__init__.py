"""Gauss-Newton for nonlinear least squares: problems, solvers, the loop and a front for networks."""

from stl_algebra.numerics.gauss_newton.minimise import GaussNewton, GaussNewtonResult, Iteration
from stl_algebra.numerics.gauss_newton.network import NetworkProblem
from stl_algebra.numerics.gauss_newton.optimizer import GaussNewtonOptimizer
from stl_algebra.numerics.gauss_newton.problem import CPProblem, FunctionProblem, Gram, Problem
from stl_algebra.numerics.gauss_newton.selector import SolverChoice, select_solver

__all__ = [
    "CPProblem",
    "FunctionProblem",
    "GaussNewton",
    "GaussNewtonOptimizer",
    "GaussNewtonResult",
    "Gram",
    "Iteration",
    "NetworkProblem",
    "Problem",
    "SolverChoice",
    "select_solver",
]
