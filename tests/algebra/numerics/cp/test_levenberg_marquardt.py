"""The closed-form CP Gram and gradient against autograd, and what Levenberg-Marquardt finds with them."""

import math

import pytest
import torch

from stl_algebra import InvalidInput, TileFormat, matmul_tensor
from stl_algebra.numerics.cp.derivatives import add_product_penalty, cp_gradient, cp_gram, cp_reconstruct
from stl_algebra.numerics.cp.levenberg_marquardt import CPOptions, cp_levenberg_marquardt


def random_factors(sides, rank, starts, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(starts, s, rank, generator=generator, dtype=torch.float64) for s in sides]


@pytest.mark.parametrize(("sides", "rank"), [((3, 4, 5), 2), ((2, 3), 4), ((2, 3, 2, 4), 3), ((1, 5, 2), 1)])
def test_closed_forms_equal_the_explicit_jacobian(sides, rank):
    factors = random_factors(sides, rank, 3, 0)
    residual = torch.randn(3, *sides, dtype=torch.float64)
    gram, gradient = cp_gram(factors), cp_gradient(residual, factors)
    for start in range(3):
        parts = tuple(u[start : start + 1] for u in factors)
        jacobians = torch.autograd.functional.jacobian(lambda *u: cp_reconstruct(u).flatten(), parts)
        jacobian = torch.cat([j.reshape(math.prod(sides), -1) for j in jacobians], dim=1)
        explicit = jacobian.T @ jacobian
        assert (gram[start] - explicit).abs().max() <= 1e-12 * explicit.abs().max()
        expected = jacobian.T @ residual[start].flatten()
        assert (gradient[start] - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.slow
def test_strassen_rank_is_found_from_nearly_every_random_start():
    """All 40 here; where sums round differently a start may end elsewhere, at most one in ten of them."""
    target = matmul_tensor(TileFormat(2, 2, 2))
    factors = random_factors((4, 4, 4), 7, 40, 0)
    fit = cp_levenberg_marquardt(target, factors, schedule=((1e-2, 60), (0.0, 500)))
    solved = fit.loss < 1e-20
    assert int(solved.sum()) >= 36
    assert {status for status, done in zip(fit.status, solved, strict=True) if done} == {
        "loss_below_tolerance"
    }
    rebuilt = cp_reconstruct(fit.factors)[solved]
    assert (rebuilt - torch.tensor(target.tolist())).abs().max() < 1e-10


@pytest.mark.slow
def test_starts_do_not_influence_each_other():
    target = matmul_tensor(TileFormat(2, 2, 2))
    factors = random_factors((4, 4, 4), 6, 5, 1)
    together = cp_levenberg_marquardt(target, factors, schedule=((1e-3, 40),))
    for start in range(5):
        alone = cp_levenberg_marquardt(target, [u[start] for u in factors], schedule=((1e-3, 40),))
        assert alone.loss[0] == pytest.approx(float(together.loss[start]), rel=1e-6)


@pytest.mark.slow
def test_frozen_entries_stay_and_the_anchor_pulls():
    target = matmul_tensor(TileFormat(2, 2, 2))
    factors = random_factors((4, 4, 4), 7, 2, 3)
    frozen = [
        torch.rand(u.shape, generator=torch.Generator().manual_seed(n)) < 0.1 for n, u in enumerate(factors)
    ]
    fit = cp_levenberg_marquardt(target, factors, frozen=frozen, schedule=((0.0, 30),))
    for before, after, mask in zip(factors, fit.factors, frozen, strict=True):
        assert torch.equal(before[mask], after[mask])
        assert not torch.equal(before, after)
    near = cp_levenberg_marquardt(target, factors, schedule=((1e8, 30),), options=CPOptions(anchor=factors))
    assert max((a - b).abs().max() for a, b in zip(near.factors, factors, strict=True)) < 1e-6
    assert (near.objective >= near.loss).all()


@pytest.mark.slow
def test_a_pull_balances_the_vectors_of_every_product():
    target = matmul_tensor(TileFormat(2, 2, 2))
    factors = random_factors((4, 4, 4), 7, 4, 5)
    factors[0] = factors[0] * 3
    fit = cp_levenberg_marquardt(target, factors, schedule=((1e-2, 3000),))
    norms = torch.stack([u.norm(dim=1) for u in fit.factors])
    assert (norms - norms.mean(0)).abs().max() <= 1e-5 * norms.max()
    assert norms.min() > 0.1


def test_the_callback_can_end_the_run_and_statuses_say_why():
    target = matmul_tensor(TileFormat(2, 2, 2))
    factors = random_factors((4, 4, 4), 6, 2, 0)
    seen = []
    fit = cp_levenberg_marquardt(target, factors, callback=lambda i, loss: seen.append(loss) or i == 3)
    assert len(seen) == 4
    assert fit.iterations.tolist() == [4, 4]
    assert fit.status == ("iterations_spent",) * 2
    nothing = cp_levenberg_marquardt(target, [torch.zeros_like(u) for u in factors])
    assert nothing.status == ("gradient_below_tolerance",) * 2
    assert nothing.loss.tolist() == [8.0, 8.0]
    assert nothing.best() == 0


def test_a_start_whose_objective_hardly_falls_any_more_is_done():
    target = matmul_tensor(TileFormat(2, 2, 2))
    starts = [u / 2 for u in random_factors((4, 4, 4), 6, 3, 5)]
    long, short = (
        cp_levenberg_marquardt(
            target,
            starts,
            schedule=((0.0, 300),),
            options=CPOptions(product_penalty=0.01, decrease_tolerance=tolerance),
        )
        for tolerance in (0.0, 1e-7)
    )
    assert short.status == ("decrease_below_tolerance",) * 3
    assert bool((short.iterations < long.iterations).all())
    torch.testing.assert_close(short.objective, long.objective, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.full((4, 4, 4), float("nan"))}, "target: expected finite"),
        ({"target": torch.zeros(4)}, "2 axes"),
        ({"factors": [torch.zeros(1, 4, 2)] * 2}, "3 factors"),
        ({"factors": [torch.zeros(1, 4, 2), torch.zeros(1, 4, 3), torch.zeros(1, 4, 2)]}, r"factors\[1\]"),
        ({"factors": [torch.full((4, 2), float("inf"))] * 3}, r"factors\[0\]: expected finite"),
        ({"schedule": ((0.0, 5), (-1.0, 5))}, "pull"),
        ({"schedule": ((0.0, -1),)}, "iterations"),
        ({"schedule": ()}, "schedule"),
        ({"options": CPOptions(anchor=[torch.zeros(1, 4, 3)] * 3)}, r"anchor\[0\]"),
        ({"frozen": [torch.zeros(4, 2)] * 2}, "frozen"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"target": torch.zeros(4, 4, 4), "factors": [torch.ones(1, 4, 2)] * 3} | change
    with pytest.raises(InvalidInput, match=message):
        cp_levenberg_marquardt(arguments.pop("target"), arguments.pop("factors"), **arguments)
    with pytest.raises(InvalidInput, match="damping"):
        CPOptions(damping=float("nan"))


@pytest.mark.slow
def test_a_schedule_is_its_stages_run_one_after_the_other():
    target = matmul_tensor(TileFormat(2, 2, 2))
    factors = random_factors((4, 4, 4), 7, 6, 2)
    stages = ((1e-2, 20), (1e-3, 20), (0.0, 100))
    numbers = []
    fit = cp_levenberg_marquardt(target, factors, schedule=stages, callback=lambda i, _: numbers.append(i))
    current, spent = factors, 0
    for stage in stages:
        last = cp_levenberg_marquardt(target, current, schedule=(stage,))
        current, spent = last.factors, spent + last.iterations
    assert all(torch.equal(a, b) for a, b in zip(fit.factors, last.factors, strict=True))
    assert torch.equal(fit.iterations, spent)
    assert (fit.status, fit.objective.tolist()) == (last.status, last.objective.tolist())
    assert numbers == list(range(len(numbers)))
    cut = cp_levenberg_marquardt(target, factors, schedule=stages, callback=lambda i, _: i == 24)
    assert cut.iterations.tolist() == [25] * 6


def test_the_products_penalty_has_its_gradient_and_gauss_newton_matrix():
    factors = random_factors((3, 2, 5), 4, 2, 3)
    weight = 0.3

    def residuals(flat):
        parts = [p.view(side, 4) for p, side in zip(flat.split([12, 8, 20]), (3, 2, 5), strict=True)]
        return weight**0.5 * torch.stack([p.norm(dim=0) for p in parts]).prod(0)

    for start in range(2):
        own = [u[start : start + 1] for u in factors]
        flat = torch.cat([u.flatten() for u in own])
        jacobian = torch.autograd.functional.jacobian(residuals, flat)
        matrix = torch.zeros(1, 40, 40, dtype=torch.float64)
        gradient = add_product_penalty(matrix, own, weight)
        torch.testing.assert_close(matrix[0], jacobian.T @ jacobian)
        torch.testing.assert_close(gradient[0], jacobian.T @ residuals(flat))


@pytest.mark.slow
def test_levenberg_marquardt_with_a_penalty_ends_where_the_objective_is_stationary():
    target = matmul_tensor(TileFormat(2, 2, 2))
    starts = [u / 2 for u in random_factors((4, 4, 4), 6, 3, 5)]
    fit = cp_levenberg_marquardt(
        target, starts, schedule=((0.0, 200),), options=CPOptions(product_penalty=0.01)
    )
    leaves = [u.clone().requires_grad_() for u in fit.factors]
    loss = (torch.einsum("bir,bjr,bkr->bijk", *leaves) - torch.tensor(target)).square().flatten(1).sum(1)
    norms = torch.stack([u.square().sum(1) for u in leaves]).prod(0).sum(1)
    objective = loss + 0.01 * norms
    torch.testing.assert_close(fit.objective, objective.detach())
    torch.testing.assert_close(fit.loss, loss.detach())
    gradients = torch.autograd.grad(objective.sum(), leaves)
    assert max(float(g.abs().max()) for g in gradients) < 1e-6
    assert float((0.01 * norms).min()) > 0
