"""Calibrated layers: optimal on what they saw, better on held-out rows, unchanged where exact."""

import numpy as np
import pytest
import torch

from stl_algebra import InvalidInput, TileFormat, TooLarge
from stl_algebra.algorithms.fit import truncate
from stl_algebra.exact.catalogue import exact_algorithm, strassen
from stl_kernels import STLLinear
from stl_kernels.contract.tiles import tiled_columns
from stl_kernels.layers.calibration import Calibrator


def correlated(rows, features, seed):
    mixing = torch.randn(features, features, generator=torch.Generator().manual_seed(0)).double()
    mixing = mixing * torch.logspace(0, -2, features, dtype=torch.float64)[:, None]
    return torch.randn(rows, features, generator=torch.Generator().manual_seed(seed)).double() @ mixing


def error(layer, linear, x):
    with torch.no_grad():
        wanted = linear(x)
        return float((layer(x) - wanted).square().sum() / wanted.square().sum())


@pytest.mark.slow
@pytest.mark.parametrize("tiling", ["consecutive", "strided"])
@pytest.mark.parametrize("sizes", [(16, 12), (15, 10)])
def test_calibration_lowers_the_error_on_held_out_rows(tiling, sizes):
    torch.manual_seed(0)
    linear = torch.nn.Linear(*sizes, dtype=torch.float64)
    layer = STLLinear.from_linear(linear, truncate(strassen(), 5), tiling=tiling)
    seen, held_out = correlated(2000, sizes[0], 1), correlated(400, sizes[0], 2)
    before = error(layer, linear, held_out)
    calibrator = Calibrator(layer, linear, relative_ridge=1e-6)
    for part in seen.split(500):
        calibrator.add(part)
    solution = calibrator.apply()
    assert np.isfinite(solution.condition)
    assert error(layer, linear, held_out) < 0.5 * before


def test_solution_is_the_least_squares_optimum():
    """Moving the encoded weights anywhere raises the error on the calibration rows."""
    torch.manual_seed(1)
    linear = torch.nn.Linear(8, 6, bias=False, dtype=torch.float64)
    layer = STLLinear.from_linear(linear, truncate(strassen(), 5))
    seen = correlated(400, 8, 3)
    calibrator = Calibrator(layer, linear, relative_ridge=0.0)
    calibrator.add(seen)
    calibrator.apply()
    least = error(layer, linear, seen)
    with torch.no_grad():
        for _ in range(10):
            step = 1e-3 * torch.randn_like(layer.encoded_w)
            layer.encoded_w.add_(step)
            assert error(layer, linear, seen) >= least - 1e-12
            layer.encoded_w.sub_(step)


def test_an_exact_layer_stays_as_it_is():
    linear = torch.nn.Linear(12, 8, dtype=torch.float64)
    layer = STLLinear.from_linear(linear, exact_algorithm(TileFormat(4, 4, 4)))
    before = layer.encoded_w.detach().clone()
    calibrator = Calibrator(layer, linear)
    calibrator.add(correlated(200, 12, 4))
    calibrator.apply()
    assert torch.allclose(layer.encoded_w, before, atol=1e-10)


def test_bad_arguments_are_named():
    linear = torch.nn.Linear(8, 6)
    layer = STLLinear.from_linear(linear, strassen())
    with pytest.raises(InvalidInput, match="linear"):
        Calibrator(layer, torch.nn.Linear(6, 8))
    calibrator = Calibrator(layer, linear)
    with pytest.raises(InvalidInput, match="x"):
        calibrator.add(torch.randn(4, 7))
    with pytest.raises(InvalidInput, match="finite"):
        calibrator.add(torch.full((4, 8), torch.nan))
    wide = torch.nn.Linear(8192, 4)
    with pytest.raises(TooLarge, match="GB"):
        Calibrator(STLLinear.from_linear(wide, exact_algorithm(TileFormat(4, 4, 4))), wide)


@pytest.mark.slow
@pytest.mark.parametrize("tiling", ["consecutive", "strided"])
def test_the_gram_domain_is_the_stacked_problem(tiling):
    """The same least squares with a row for each entry of the output tile, solved by numpy."""
    torch.manual_seed(3)
    linear = torch.nn.Linear(12, 8, dtype=torch.float64)
    layer = STLLinear.from_linear(linear, truncate(exact_algorithm(TileFormat(4, 4, 4)), 30), tiling=tiling)
    x = correlated(2000, 12, 5)
    x = x - x.mean(0)
    start, ridge = layer.encoded_w.detach().clone(), 1e-4
    rows = x.reshape(-1, 4, 12)
    columns = tiled_columns(12, 4, tiling == "strided")
    tiles = rows[:, :, columns].permute(0, 1, 3, 2).reshape(len(rows), 16, 3)
    outputs = tiled_columns(8, 4, tiling == "strided")
    wanted = (rows @ linear.weight.t())[:, :, outputs].permute(0, 1, 3, 2).reshape(len(rows), 16, 2)
    encoded = torch.einsum("ra,ial->irl", layer.factors.encode_x, tiles)
    design = torch.einsum("yr,irl->iyrl", layer.factors.decode, encoded).reshape(-1, 90).detach().numpy()
    target = wanted.reshape(-1, 2).detach().numpy() - design @ start.reshape(90, 2).numpy()
    gram = design.T @ design
    gram[np.diag_indices(90)] += ridge * np.trace(gram) / 90
    expected = start + torch.tensor(np.linalg.solve(gram, design.T @ target)).reshape(start.shape)
    seen = []
    calibrator = Calibrator(layer, linear, relative_ridge=ridge)
    outcome = calibrator.collect(x.split(500), lambda *step: seen.append(step)).apply()
    assert torch.allclose(layer.encoded_w, expected, rtol=0, atol=1e-8 * float(expected.abs().max()))
    assert [step[1:] for step in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    # The errors that it tells are those of the layer without bias.
    assert outcome.after == pytest.approx(error_without_bias(layer, linear, x), rel=1e-6)
    assert str(outcome).startswith("2000 rows: error ")
    assert outcome.after < outcome.before


def error_without_bias(layer, linear, x):
    with torch.no_grad():
        wanted = x @ linear.weight.t()
        return float((layer(x) - layer.bias - wanted).square().sum() / wanted.square().sum())
