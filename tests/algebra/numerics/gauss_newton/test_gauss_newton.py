"""Jacobians against finite differences, structured Grams against explicit ones, and what the loop reaches."""

import warnings

import pytest
import torch
from torch import nn

from stl_algebra import InvalidInput
from stl_algebra.numerics.gauss_newton import (
    FunctionProblem,
    GaussNewton,
    GaussNewtonOptimizer,
    Gram,
    NetworkProblem,
    Sketched,
    select_solver,
)
from stl_algebra.numerics.sketches import SKETCHES, make_sketch


def network(outputs=1, samples=12, width=8):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, outputs, bias=False)).double()
    x = torch.randn(samples, 3, dtype=torch.float64)
    return NetworkProblem(module, x, torch.sin(x[:, :1] + x[:, 1:2]).repeat(1, outputs))


class Closed(FunctionProblem):
    """r = u v^T - T, which knows J^T J in closed form."""

    structured = True

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        u, v, target = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((3,), (4,), (3, 4)))
        super().__init__(lambda u, v: torch.outer(u, v) - target, [u, v])

    def gram(self, theta):
        u, v = self.split(theta)
        corner, cross = torch.eye(3, dtype=v.dtype) * v.square().sum(), torch.outer(u, v)
        opposite = torch.eye(4, dtype=u.dtype) * u.square().sum()
        return Gram(
            "parameters", torch.cat([torch.cat([corner, cross], 1), torch.cat([cross.T, opposite], 1)])
        )


def rosenbrock():
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    return FunctionProblem(lambda t: torch.stack([10 * (t[1] - t[0] ** 2), 1 - t[0]]), start)


@pytest.mark.slow
@pytest.mark.parametrize("problem", [network(), network(2), Closed(), rosenbrock()])
def test_derivatives(problem):
    theta, h = problem.start, 1e-6
    jacobian = problem.jacobian(theta)
    columns = [
        (problem.residual(theta + h * e) - problem.residual(theta - h * e)).detach() / (2 * h)
        for e in torch.eye(theta.numel(), dtype=theta.dtype)
    ]
    assert (jacobian - torch.stack(columns, dim=1)).abs().max() <= 1e-6
    u, v = torch.randn(jacobian.shape[0]).double(), torch.randn(jacobian.shape[1]).double()
    assert torch.allclose(problem.vjp(theta, u), jacobian.mT @ u, atol=1e-12)
    assert torch.allclose(problem.jvp(theta, v), jacobian @ v, atol=1e-12)
    linear = problem.linearise(theta)
    assert linear.shape == tuple(jacobian.shape)
    assert torch.allclose(linear.transposed_times(u), jacobian.mT @ u, atol=1e-12)
    assert torch.allclose(linear.times(v), jacobian @ v, atol=1e-12)
    assert linear.energy() == pytest.approx(float(jacobian.square().sum()))
    longer = jacobian if jacobian.shape[0] > jacobian.shape[1] else jacobian.mT
    sketch = make_sketch("sparse", longer.shape[0], longer.shape[0])
    assert torch.allclose(linear.sketched(sketch), sketch(longer), atol=1e-12)
    if problem.structured:
        gram = problem.gram(theta)
        explicit = jacobian @ jacobian.mT if gram.side == "residuals" else jacobian.mT @ jacobian
        assert (gram.matrix - explicit).abs().max() <= 1e-12 * explicit.abs().max()


@pytest.mark.parametrize("solver", ["structured", "dense", "sketched", "auto"])
def test_overparametrised_network_is_fitted_by_every_solver(solver):
    result = GaussNewton(solver=solver, loss_tolerance=1e-12, iterations=60).minimise(network(1, 20, 30))
    assert result.converged
    assert result.loss <= 1e-12
    assert all(i.loss <= j.loss for i, j in zip(result.history[1:], result.history, strict=False))


@pytest.mark.slow
def test_every_solver_finds_the_best_rank_one_matrix_with_its_closed_form():
    losses = [
        GaussNewton(solver=solver, iterations=200).minimise(Closed()).loss
        for solver in ("structured", "dense", "sketched")
    ]
    problem = Closed()
    target = torch.outer(*problem.split(problem.start)) - problem.residual(problem.start).reshape(3, 4)
    best = float(torch.linalg.svdvals(target)[1:].square().sum())
    assert losses == pytest.approx([best] * 3, rel=1e-9)


def test_rosenbrock_callback_and_unstructured():
    seen = []
    result = GaussNewton(loss_tolerance=1e-20, line_search=True, callback=seen.append).minimise(rosenbrock())
    assert torch.allclose(result.theta, torch.ones(2, dtype=torch.float64))
    assert result.solver.name == "dense"
    assert tuple(seen) == result.history
    stopped = GaussNewton(callback=lambda i: i.iteration == 2).minimise(rosenbrock())
    assert (stopped.status, len(stopped.history)) == ("stopped_by_callback", 2)
    with pytest.raises(InvalidInput, match="structure"):
        GaussNewton(solver="structured").minimise(rosenbrock())


@pytest.mark.parametrize("solver", ["dense", "sketched"])
def test_derivatives_that_are_not_finite_end_the_run(solver):
    problem = FunctionProblem(lambda x: x.sqrt() - 1, torch.zeros(2, dtype=torch.float64))
    found = GaussNewton(solver=solver).minimise(problem)
    assert (found.status, found.converged, repr(found.history)) == (
        "no_step_improves",
        False,
        "History(no steps)",
    )


@pytest.mark.slow
def test_sketch_preconditions_where_plain_conjugate_gradients_crawl():
    g = torch.Generator().manual_seed(0)
    matrix = torch.logspace(0, -3, 150).double().unsqueeze(1) * torch.randn(150, 3000, generator=g).double()
    problem = FunctionProblem(lambda t: matrix @ t - 1, torch.zeros(3000, dtype=torch.float64))
    residual = problem.residual(problem.start)
    steps = {}
    for sketch, seed in (("sparse", 0), ("sparse", 1), ("srht", 0), ("srht", 1), (None, 0)):
        prepared = Sketched(sketch=sketch, seed=seed).prepare(problem, problem.start, residual)
        steps[sketch, seed] = prepared.solve(1e-8 * prepared.scale).inner
    plain = steps.pop((None, 0))
    assert max(steps.values()) <= 15
    assert plain >= 5 * max(steps.values())


def test_optimizer_front_trains_in_place():
    problem = network(1, 20, 30)
    front = GaussNewtonOptimizer(problem.module)
    losses = [front.step(problem.inputs, problem.targets) for _ in range(20)]
    assert losses[-1] < 1e-6 * losses[0]
    again = GaussNewtonOptimizer(problem.module)
    again.load_state_dict(front.state_dict())
    assert again.mu == front.mu


def test_selector_returns_the_solver_with_its_reason():
    kind = {"residuals": 2000, "parameters": 50_000}
    assert select_solver("auto", structured=True, **kind).name == "structured"
    chosen = select_solver("auto", structured=False, **kind)
    assert isinstance(chosen, Sketched)
    assert "50000 x 2000" in chosen.reason
    assert select_solver("auto", structured=False, residuals=2000, parameters=20_000).name == "dense"
    asked = Sketched(tolerance=1e-3, seed=3)
    assert select_solver(asked, structured=True, **kind) is asked
    for wrong in ("magic", 3):
        with pytest.raises(InvalidInput, match="solver"):
            select_solver(wrong, structured=True, **kind)
    for wrong in ({"tolerance": 0.0}, {"sketch": "pencil"}, {"limit": 0}, {"width_factor": float("nan")}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            Sketched(**wrong)


def test_parameters_come_back_as_they_were_given():
    matrix = torch.eye(2, dtype=torch.float64) * 3
    vector = torch.ones(3, dtype=torch.float64)
    several = FunctionProblem(lambda m, v: torch.cat([(m @ m - 4).flatten(), v - 5]), [matrix, vector])
    found = GaussNewton().minimise(several)
    assert [p.shape for p in found.parameters] == [(2, 2), (3,)]
    assert torch.equal(torch.cat([p.flatten() for p in found.parameters]), found.theta)
    alone = GaussNewton().minimise(FunctionProblem(lambda m: m - 1, matrix))
    assert torch.allclose(alone.parameters, torch.ones(2, 2, dtype=torch.float64))
    problem = network()
    named = GaussNewton(iterations=2).minimise(problem).parameters
    assert {n: v.shape for n, v in named.items()} == {
        n: p.shape for n, p in problem.module.named_parameters()
    }


def test_sparse_sketch_does_not_care_how_a_matrix_is_stored_and_warns_of_nothing():
    matrix = torch.randn(1000, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sketch = make_sketch("sparse", 1000, 300)
        standing, lying = sketch(matrix), sketch(matrix.mT.contiguous().mT)
    assert torch.allclose(standing, lying, atol=1e-14)
    dense = sketch(torch.eye(1000, dtype=torch.float64))
    assert torch.equal((dense != 0).sum(0), torch.full((1000,), 2))
    assert torch.allclose(standing, dense @ matrix, atol=1e-13)


def test_preconditioner_survives_a_gram_matrix_that_rounding_made_indefinite():
    g = torch.Generator().manual_seed(0)
    matrix = torch.logspace(0, -2, 20).unsqueeze(1) * torch.randn(20, 600, generator=g)
    matrix = torch.randn(60, 20, generator=g) @ matrix
    goal = matrix @ torch.randn(600, generator=g)
    problem = FunctionProblem(lambda t: matrix @ t - goal, torch.zeros(600))
    residual = problem.residual(problem.start)
    prepared = Sketched().prepare(problem, problem.start, residual)
    mu = 1e-10 * prepared.scale
    small = make_sketch("sparse", 600, 210)(matrix.mT)
    assert int(torch.linalg.cholesky_ex(small.mT @ small + mu * torch.eye(60)).info) > 0
    found = prepared.solve(mu)
    plain = Sketched(sketch=None).prepare(problem, problem.start, residual).solve(mu)
    assert found.inner <= 15
    assert plain.inner >= 2 * found.inner
    assert torch.linalg.vector_norm(residual + found.image) <= 0.02 * torch.linalg.vector_norm(residual)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SKETCHES))
def test_sketches_are_linear_and_keep_norms_on_average(kind):
    v = torch.randn(37, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    energies = torch.stack([make_sketch(kind, 37, 16, seed)(v).square().sum(0) for seed in range(400)])
    assert torch.allclose(energies.mean(0), v.square().sum(0), rtol=0.1)
    sketch = make_sketch(kind, 37, 16)
    assert torch.allclose(sketch(v @ torch.ones(2).double()), sketch(v).sum(1))
    with pytest.raises(InvalidInput, match="matrix"):
        sketch(v[:5])
