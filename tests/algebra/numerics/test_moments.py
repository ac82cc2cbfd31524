"""Moments of rows: sums, storage at half precision, and what is refused."""

import numpy as np
import pytest

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.moments import Moments, MomentSum

RNG = np.random.default_rng(0)


def coloured(rows, size, decades, mean=0.0):
    """Rows whose covariance has eigenvalues over that many decades."""
    turn = np.linalg.qr(RNG.normal(size=(size, size)))[0]
    return RNG.normal(size=(rows, size)) * np.geomspace(1, 10.0 ** (-decades / 2), size) @ turn + mean


def test_sums_over_parts_are_the_moments_of_all_rows():
    rows = coloured(500, 20, 4, mean=3.0)
    sums = MomentSum(20)
    for part in np.array_split(rows, 7):
        sums.add(part)
    found = sums.value()
    assert found.count == 500
    assert np.allclose(found.mean, rows.mean(axis=0), rtol=1e-13)
    assert np.allclose(found.second, rows.T @ rows / 500, rtol=1e-12)
    assert np.allclose(found.covariance, np.cov(rows.T, bias=True), atol=1e-13)


def test_a_large_mean_costs_no_digits():
    rows = coloured(400, 8, 2)
    moved = MomentSum(8)
    moved.add(rows + 1e6)
    # Subtracting 1e12 from 1e12 + 1 would leave four digits; about the first mean all but the input's stay.
    covariance = moved._second / 400 - np.outer(moved._first / 400, moved._first / 400)
    assert np.allclose(covariance, np.cov(rows.T, bias=True), atol=1e-9)


@pytest.mark.parametrize(("rows", "decades"), [(4000, 1), (4000, 5), (10, 2)])
def test_stored_at_half_precision_the_small_directions_stay(rows, decades):
    values = coloured(rows, 24, decades, mean=0.5)
    moments = Moments.of(values)
    packed = moments.packed()
    assert packed["root"].dtype == np.float16
    assert packed["root"].shape == (24 * 25 // 2,)
    back = Moments.unpacked(packed)
    assert back.count == rows
    assert np.allclose(back.mean, moments.mean, rtol=1e-6)
    assert np.allclose(np.diag(back.covariance), np.diag(moments.covariance), rtol=1e-6)
    deviation = np.sqrt(np.diag(moments.covariance))
    change = (back.covariance - moments.covariance) / np.outer(deviation, deviation)
    assert np.abs(change).max() < 2**-10
    assert np.linalg.eigvalsh(back.covariance).min() > -1e-12
    # Relative to C itself: what a fit in this metric can gain or lose.
    if rows > 24:
        root = np.linalg.cholesky(moments.covariance)
        inside = np.linalg.solve(root, np.linalg.solve(root, back.covariance).T)
        assert np.abs(np.linalg.eigvalsh(inside) - 1).max() < 0.05


def test_constant_features_and_single_rows_can_be_stored():
    rows = np.column_stack([np.ones(50), RNG.normal(size=50), np.zeros(50)])
    for values in (rows, rows[:1]):
        moments = Moments.of(values)
        assert np.allclose(Moments.unpacked(moments.packed()).second, moments.second, atol=1e-3)


def test_wrong_moments_are_named():
    eye, zero = np.eye(3), np.zeros(3)
    for arguments in [
        (0, zero, eye), (5, np.zeros(2), eye), (5, zero, np.full((3, 3), np.nan)),
        (5, zero, np.triu(np.ones((3, 3)))), (5, np.full(3, 2.0), eye),
    ]:  # fmt: skip
        with pytest.raises(InvalidInput, match="moments"):
            Moments(*arguments)
    with pytest.raises(InvalidInput, match="indefinite"):
        Moments(5, zero, np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])).packed()
    with pytest.raises(InvalidInput, match="float32"):
        Moments(5, zero, 1e90 * eye).packed()
    packed = Moments(5, zero, eye).packed()
    with pytest.raises(InvalidInput, match="root"):
        Moments.unpacked({k: v for k, v in packed.items() if k != "root"})
    with pytest.raises(InvalidInput, match="6 entries"):
        Moments.unpacked({**packed, "root": packed["root"][:-1]})
    with pytest.raises(InvalidInput, match="NaN"):
        Moments.of(np.full((2, 3), np.nan))
    with pytest.raises(InvalidInput, match="at least one row"):
        MomentSum(3).value()
