"""The front for functions of arrays and tensors against scipy, and runs that end at rounding errors."""

import re

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from stl_algebra import InvalidInput
from stl_algebra.numerics import (
    FunctionProblem,
    GaussNewton,
    NetworkProblem,
    minimise_least_squares,
)

# NIST's Misra1a: the two parameters differ by a factor of a million.
MISRA_X = np.array(
    [77.6, 114.9, 141.1, 190.8, 239.9, 289, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760]
)
MISRA_Y = np.array(
    [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.4, 75.47, 81.78]
)
T = np.linspace(0, 4, 30)
MATRIX, GOAL = np.random.default_rng(0).normal(size=(50, 5)), np.random.default_rng(1).normal(size=50)


def misra(x):
    return x[0] * (1 - np.exp(-x[1] * MISRA_X)) - MISRA_Y


def decay(x):
    return x[0] * np.exp(-x[1] * T) + x[2] - 3 * np.exp(-0.5 * T) - 0.1 * np.sin(7 * T)


def rosenbrock(x):
    return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def helical(x):
    return np.array([10 * (x[2] - 5 * np.arctan2(x[1], x[0]) / np.pi), 10 * (np.hypot(x[0], x[1]) - 1), x[2]])


def linear(x):
    return MATRIX @ x - GOAL


CASES = [
    (misra, [500.0, 1e-4]),
    (misra, [250.0, 5e-4]),
    (decay, [1.0, 1.0, 0.0]),
    (rosenbrock, [-1.2, 1.0]),
    (helical, [-1.0, 0.1, 0.0]),
    (linear, [0.0] * 5),
]


@pytest.mark.slow
@pytest.mark.parametrize("jac", ["2-point", "3-point"])
@pytest.mark.parametrize(("f", "x0"), CASES)
def test_it_ends_where_scipy_ends(f, x0, jac):
    theirs = scipy.optimize.least_squares(f, x0, method="lm", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    ours = minimise_least_squares(f, x0, jac=jac)
    assert ours.success, ours.message
    assert ours.cost == pytest.approx(theirs.cost, rel=1e-6, abs=1e-14)
    assert ours.x == pytest.approx(theirs.x, rel=1e-4, abs=1e-6)
    assert np.array_equal(ours.fun, f(ours.x))
    assert ours.jac == pytest.approx(theirs.jac, rel=1e-2, abs=1e-4)
    assert ours.grad == pytest.approx(ours.jac.T @ ours.fun)
    assert ours.optimality == np.abs(ours.grad).max()
    assert ours.nfev <= len(ours.history) + 1
    assert ours.njev <= ours.nfev


@pytest.mark.slow
def test_linear_least_squares_is_numpys():
    found = minimise_least_squares(linear, np.zeros(5), jac=lambda x: MATRIX, ftol=0, xtol=0, gtol=0)
    assert found.status == "converged_to_rounding"
    assert found.x == pytest.approx(np.linalg.lstsq(MATRIX, GOAL)[0], abs=1e-12)


@pytest.mark.slow
def test_every_kind_of_derivative_and_argument_agrees():
    t, y = torch.from_numpy(T), torch.from_numpy(-decay(np.zeros(3)))

    def tensors(x):
        assert isinstance(x, torch.Tensor)
        return x[0] * torch.exp(-x[1] * t) + x[2] - y

    def slopes(x):
        return np.column_stack([np.exp(-x[1] * T), -x[0] * T * np.exp(-x[1] * T), np.ones(30)])

    start = np.array([1.0, 1.0, 0.0])
    best = minimise_least_squares(decay, start, jac=slopes)
    for found in (
        minimise_least_squares(tensors, start, jac="autodiff"),
        minimise_least_squares(tensors, torch.from_numpy(start)),
        minimise_least_squares(tensors, torch.from_numpy(start), jac="3-point"),
    ):
        assert list(found.x) == pytest.approx(list(best.x), abs=1e-6)
        assert type(found.x) is type(found.jac) is type(found.grad) is type(found.fun)
    assert isinstance(found.x, torch.Tensor)
    # Overdetermined or not, a function of any shape: x comes back shaped as it went in.
    wide = minimise_least_squares(lambda x: (x @ x - 2)[:1], torch.eye(3, dtype=torch.float64), gtol=1e-12)
    assert (wide.x.shape, wide.jac.shape) == ((3, 3), (3, 9))
    assert wide.cost < 1e-20
    assert minimise_least_squares(lambda x: x**2 - 2, 1).x == pytest.approx([2**0.5])


@pytest.mark.slow
def test_units_do_not_matter():
    def run(units):
        t = torch.from_numpy(T)
        scale = torch.tensor(units, dtype=torch.float64)
        start = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64) / scale

        def f(x):
            x = x * scale
            return x[0] * torch.exp(-x[1] * t) + x[2] - 3 * torch.exp(-0.5 * t) - torch.sin(t)

        found = minimise_least_squares(f, start, xtol=0, gtol=0)
        return [step.loss for step in found.history]

    # Powers of two change no rounding error.
    assert run([1.0, 1.0, 1.0]) == run([2.0**20, 2.0**-20, 2.0**7])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", ["dense", "sketched"])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_linear_problem_ends_at_rounding(dtype, solver, noise):
    g = torch.Generator().manual_seed(0)
    matrix = torch.randn(60, 8, generator=g, dtype=torch.float64) * torch.logspace(0, -2, 8)
    goal = matrix.sum(1) + noise * torch.randn(60, generator=g, dtype=torch.float64)
    matrix, goal = matrix.to(dtype), goal.to(dtype)
    problem = FunctionProblem(lambda x: matrix @ x - goal, torch.zeros(8, dtype=dtype))
    found = GaussNewton(solver=solver, gradient_tolerance=0.0).minimise(problem)
    assert found.status in ("converged_to_rounding", "loss_below_tolerance")
    assert found.converged
    best = torch.linalg.lstsq(matrix.double(), goal.double()).solution
    bound = 1e3 * torch.finfo(dtype).eps
    assert torch.linalg.vector_norm(matrix.double() @ (found.theta - best)) <= bound * (1 + noise) * 8


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["structured", "dense", "sketched"])
def test_a_network_in_single_precision_ends_at_rounding(solver):
    torch.manual_seed(0)
    x = torch.randn(20, 3)
    problem = NetworkProblem(
        nn.Sequential(nn.Linear(3, 30), nn.Tanh(), nn.Linear(30, 1)), x, torch.sin(x.sum(1, keepdim=True))
    )
    found = GaussNewton(solver=solver, gradient_tolerance=0.0, iterations=200).minimise(problem)
    assert found.status == "converged_to_rounding"
    assert found.loss < 1e-11
    # However long it ran, its history is one line.
    text = re.search(r"history=(.*)\)$", repr(found)).group(1)
    assert re.fullmatch(r"History\(\d+ steps, \d+ taken, \|r\|\^2 \S+ -> \S+\)", text)


def test_what_is_not_converged_does_not_say_so():
    wrong = minimise_least_squares(lambda x: x**2 - 2, [1.0], jac=lambda x: -2 * x[:, None])
    assert (wrong.status, wrong.success) == ("no_step_improves", False)
    kink = minimise_least_squares(lambda x: np.abs(x) + 1, [1.0])
    assert not kink.success
    short = minimise_least_squares(rosenbrock, [-1.2, 1.0], max_nfev=5)
    assert (short.status, short.success, short.nfev) == ("iterations_spent", False, 5)
    assert "max_nfev" in short.message
    only = minimise_least_squares(rosenbrock, [-1.2, 1.0], max_nfev=1)
    assert (only.x.tolist(), only.nfev, repr(only.history)) == ([-1.2, 1.0], 1, "History(no steps)")


@pytest.mark.slow
def test_functions_may_reuse_their_memory():
    out = np.empty(2)

    def f(x):
        out[:] = rosenbrock(x)
        x[:] = np.nan
        return out

    matrix, rest = torch.from_numpy(MATRIX), torch.empty(50, dtype=torch.float64)
    best = minimise_least_squares(linear, np.zeros(5), ftol=1e-14)
    again = minimise_least_squares(f, [-1.2, 1.0])
    assert np.array_equal(again.x, minimise_least_squares(rosenbrock, [-1.2, 1.0]).x)
    assert np.array_equal(again.fun, rosenbrock(again.x))

    def g(x):
        rest.copy_(matrix @ x - torch.from_numpy(GOAL))
        return rest

    found = minimise_least_squares(g, torch.zeros(5).double(), jac=lambda x: matrix, ftol=1e-14)
    assert found.x.tolist() == pytest.approx(best.x.tolist(), abs=1e-7)


def test_a_region_where_f_is_not_defined_is_stepped_around():
    with np.errstate(invalid="ignore"):
        found = minimise_least_squares(lambda x: np.sqrt(x) - 0.1, [4.0])
    assert found.x == pytest.approx([0.01], rel=1e-4)


def test_wrong_arguments_are_named():
    for change, message in (
        ({"bounds": (0, 1)}, "bounds: expected none, got .*scipy.optimize.least_squares takes bounds"),
        ({"bounds": "tight"}, "bounds: expected none"),
        ({"jac": "4-point"}, "jac: expected a function"),
        ({"jac": lambda x: np.ones((2, 3))}, r"jac: expected shape \(m, n\) = \(2, 2\)"),
        (
            {"jac": lambda x: np.full((2, 2), np.nan)},
            r"jac: expected finite .* at x = \[1.0, 2.0",
        ),
        ({"ftol": -1.0}, "ftol"),
        ({"max_nfev": 0}, "max_nfev"),
        ({"x0": []}, "x0: expected finite numbers"),
        ({"x0": [np.inf, 1]}, "x0: expected finite numbers"),
        ({"x0": ["a"]}, "x0: expected real numbers"),
        ({"x0": [1j, 0]}, "x0: expected real numbers"),
        ({"f": lambda x: x * np.nan}, "f: expected finite residuals at x0"),
        ({"f": lambda x: None}, "f: expected real numbers, got NoneType"),
        ({"f": lambda x: x[:0]}, "f: expected at least one residual"),
        ({"f": lambda x: np.ones(2 + (x[0] != 1))}, "f: expected 2 residuals, as before, got 3"),
        ({"jac": "autodiff", "f": lambda x: x.numpy()}, "f: expected a tensor, because x is one"),
    ):
        arguments = {"f": rosenbrock, "x0": [1.0, 2.0]} | change
        with pytest.raises(InvalidInput, match=message):
            minimise_least_squares(arguments.pop("f"), arguments.pop("x0"), **arguments)
    free = minimise_least_squares(rosenbrock, [1.0, 2.0], bounds=(-np.inf, [np.inf, np.inf]))
    assert free.success
