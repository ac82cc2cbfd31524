"""Rows as arrays and one by one, intercepts, fading rows, condition numbers: against numpy."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from stl_algebra import InvalidInput
from stl_algebra.numerics import (
    DynamicLeastSquares,
    HeldOutStop,
    JournaledLeastSquares,
    load_least_squares,
    save_least_squares,
)
from stl_algebra.numerics.least_squares.config import Config, Settings

EXACT = [
    {"deletions": "any"},
    {"deletions": "any", "keep_rows": False},
    {"deletions": "window"},
    {"deletions": "none"},
]


def draw(m, d, k=None, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, d)), rng.normal(size=m if k is None else (m, k))


def with_ones(a):
    return np.column_stack([a, np.ones(len(a))])


def scaled_condition(a):
    norms = np.linalg.norm(a, axis=0)
    return np.linalg.cond(a[:, norms > 0] / norms[norms > 0])


def same_state(first, second):
    mine, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(mine[key], theirs[key]) for key in mine if key != "meta")


def test_every_setting_is_a_field():
    assert [f.name for f in dataclasses.fields(Config)][2:] == list(Settings.__annotations__)


@pytest.mark.parametrize("dtype", ["float64", np.float32, torch.float32])
@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("settings", EXACT)
def test_arrays_and_tensors_give_the_same_bits_and_numpys_answer(settings, k, dtype):
    a, b = (x.astype("float32") if dtype != "float64" else x for x in draw(60, 5, k))
    bound = 1e-12 if dtype == "float64" else 1e-5
    arrays = DynamicLeastSquares(5, k or 1, dtype=dtype, **settings)
    tensors = DynamicLeastSquares(5, k or 1, dtype=dtype, **settings)
    for rows in (slice(0, 20), slice(20, 60)):
        arrays.insert(a[rows], b[rows])
        tensors.insert(torch.from_numpy(a[rows]), torch.from_numpy(b[rows]))
    found, same = arrays.solve(), tensors.solve()
    assert isinstance(found.x, np.ndarray)
    assert (found.x.dtype, found.x.shape) == (a.dtype, (5, k or 1))
    assert np.array_equal(found.x, same.x.numpy())
    assert same_state(arrays, tensors)
    best = np.linalg.lstsq(a, b.reshape(60, -1))[0]
    assert np.abs(found.x - best).max() <= bound
    assert isinstance(arrays.residual(), np.ndarray)
    assert isinstance(tensors.residual(), torch.Tensor)
    if settings["deletions"] != "none":
        arrays.delete(0, *((a[:20], b[:20]) if settings.get("keep_rows") is False else ()))
        best = np.linalg.lstsq(a[20:], b[20:].reshape(40, -1))[0]
        assert np.abs(arrays.solve().x - best).max() <= bound


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("settings", [*EXACT, {"deletions": "none", "forgetting": 0.9}])
def test_one_row_needs_no_axis(settings, k):
    a, b = draw(12, 3, k)
    whole, single = (DynamicLeastSquares(3, k, intercept=True, **settings) for _ in range(2))
    for row in range(12):
        whole.insert(a[row : row + 1], b[row : row + 1])
        single.insert(a[row], float(b[row, 0]) if k == 1 else b[row])
    assert same_state(whole, single)
    assert single.predict(a[0]).shape == (() if k == 1 else (2,))
    assert whole.predict(a[0]).shape == (k,)
    tensor = DynamicLeastSquares(3, dtype=torch.float32)
    tensor.insert(torch.ones(3), 2)
    assert tensor.predict(torch.ones(3)).item() == pytest.approx(2)


def test_whole_numbers_and_lists_are_taken_and_what_would_lose_is_not():
    stream = DynamicLeastSquares(2, dtype="float32")
    stream.insert([[1, 0], [0, 1]], [0.1, 3])
    stream.insert(np.array([1, 1], dtype=np.int64), np.float64(3.1))
    assert stream.solve().x.ravel() == pytest.approx([0.1, 3], abs=1e-6)
    row, target = np.ones((1, 2), dtype=np.float32), np.ones(1, dtype=np.float32)
    for a, b, message in (
        (row.astype(float), target, r"a: expected dtype float32, got float64.*astype\('float32'\)"),
        (row, target.astype(complex), "b: expected real numbers"),
        ([["1", "2"]], [1], "a: expected real numbers"),
        ([[1, 2], [3]], [1, 2], "a: expected an array of numbers"),
        (row, torch.ones(1), "b: expected an array, as a is"),
        (torch.ones(1, 2), target, "b: expected a torch tensor, as a is"),
        (np.ones(3, dtype=np.float32), target, r"a: expected shape \(m, d\) or \(d,\) with d = 2"),
        (row, np.ones((1, 1, 1), dtype=np.float32), "b: expected shape"),
        ([[1.0, math.nan]], [1], "a: expected finite"),
    ):
        with pytest.raises(InvalidInput, match=message):
            stream.insert(a, b)
    assert stream.rows == 3


def test_fit_and_predict_by_their_usual_names():
    a, b = draw(30, 4)
    stream = DynamicLeastSquares(4, intercept=True).partial_fit(a[:10], b[:10]).partial_fit(a[10:], b[10:])
    best = np.linalg.lstsq(with_ones(a), b)[0]
    fitted = stream.predict(a)
    # Targets without an axis of their own come back so: a difference is not an outer one.
    assert fitted.shape == b.shape
    assert fitted == pytest.approx(with_ones(a) @ best, abs=1e-12)
    assert isinstance(stream.predict(torch.from_numpy(a)), torch.Tensor)
    assert DynamicLeastSquares(4).predict(a).tolist() == [[0.0]] * 30
    with pytest.raises(InvalidInput, match="d = 4"):
        stream.predict(a[:, :3])


@pytest.mark.parametrize("settings", EXACT)
def test_the_intercept_is_a_column_of_ones(settings):
    a, b = draw(80, 4, 2)
    b = b + np.array([100.0, -5.0])
    stream = DynamicLeastSquares(4, 2, intercept=True, **settings)
    first = stream.insert(a[:30], b[:30])
    stream.insert(a[30:], b[30:])
    live = slice(0, 80)
    if settings["deletions"] != "none":
        stream.delete(first, *((a[:30], b[:30]) if settings.get("keep_rows") is False else ()))
        live = slice(30, 80)
    best, residual, rank, _ = np.linalg.lstsq(with_ones(a[live]), b[live])
    found = stream.solve()
    assert found.x == pytest.approx(best[:4], abs=1e-11)
    assert found.intercept == pytest.approx(best[4], abs=1e-11)
    assert stream.residual() == pytest.approx(residual, rel=1e-9)
    assert (found.rank, found.x.shape, found.intercept.shape) == (rank, (4, 2), (2,))
    assert DynamicLeastSquares(4, **settings).solve().intercept is None


@pytest.mark.parametrize("deletions", ["any", "window"])
def test_a_ridge_spares_the_intercept(deletions):
    a, b = draw(50, 3)
    for settings in ({"ridge": 7.0}, {"relative_ridge": 0.2}):
        stream = DynamicLeastSquares(3, intercept=True, deletions=deletions, **settings)
        stream.insert(a, b + 1000)
        ridge = settings.get("ridge", 0.2 * np.square(a).sum() / 3)
        normal = with_ones(a).T @ with_ones(a) + np.diag([ridge] * 3 + [0.0])
        best = np.linalg.solve(normal, with_ones(a).T @ (b + 1000))
        found = stream.solve()
        assert found.ridge == pytest.approx(ridge)
        assert [*found.x[:, 0], found.intercept[0]] == pytest.approx(best, abs=1e-9)


@pytest.mark.slow
def test_sampling_keeps_the_intercept():
    a, b = draw(6000, 6)
    stream = DynamicLeastSquares(6, intercept=True, deletions="none", eps=0.1)
    for start in range(0, 6000, 100):
        stream.insert(a[start : start + 100], b[start : start + 100] + 10)
    assert stream.choice.method == "sampled"
    assert stream.kept_rows < 3000
    best = np.linalg.lstsq(with_ones(a), b + 10)[1][0]
    assert np.square(stream.predict(a) - b - 10).sum() <= 1.1**2 * best


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 400, 1000])
def test_fading_rows_are_weighted_rows(size):
    forgetting = 0.98
    a, b = draw(1000, 4)
    b[500:] += a[500:] @ np.arange(4)
    stream = DynamicLeastSquares(4, deletions="none", forgetting=forgetting, intercept=True)
    for start in range(0, 1000, size):
        stream.insert(a[start : start + size], b[start : start + size])
        if start % 3 == 0:
            stream.solve()
    weights = forgetting ** (np.arange(999, -1, -1) / 2)
    best, residual, _, _ = np.linalg.lstsq(weights[:, None] * with_ones(a), weights * b)
    assert stream.solve().x[:, 0] == pytest.approx(best[:4], abs=1e-11)
    assert stream.residual() == pytest.approx(residual, rel=1e-9)
    # The last 50 rows or so decide: the change half way is all but forgotten.
    assert np.abs(stream.solve().x[:, 0] - np.arange(4)).max() < 1
    assert (stream.rows, stream.choice.method) == (1000, "gram")


def test_fading_refuses_what_it_cannot_have_and_continues_bit_for_bit():
    for settings, message in (
        ({}, 'forgetting: expected deletions="none"'),
        ({"deletions": "window"}, 'deletions="none"'),
        ({"deletions": "none", "mode": "sampled", "eps": 0.1}, 'mode "exact" or "auto"'),
        ({"deletions": "none", "forgetting": 0.0}, "above 0"),
        ({"deletions": "none", "forgetting": math.nan}, "above 0"),
    ):
        with pytest.raises(InvalidInput, match=message):
            DynamicLeastSquares(3, **({"forgetting": 0.9} | settings))
    a, b = draw(300, 3)
    first = DynamicLeastSquares(3, deletions="none", forgetting=0.9, eps=0.1)
    assert "fade" in first.choice.reason
    first.insert(a[:100], b[:100])
    second = DynamicLeastSquares.from_state_dict(first.state_dict())
    for stream in (first, second):
        stream.insert(a[100:], b[100:])
    assert np.array_equal(first.solve().x, second.solve().x)
    with pytest.raises(InvalidInput, match="fade"):
        first.merge(second)


@pytest.mark.parametrize("ridge", [0.0, 10.0])
@pytest.mark.parametrize("deletions", ["any", "window"])
def test_the_condition_is_that_of_the_rows_whatever_the_ridge(deletions, ridge):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) * 10.0 ** np.arange(-3, 3)
    a[:, 1] = a[:, 0] * 1e5 + 1e-2 * a[:, 1]
    stream = DynamicLeastSquares(6, deletions=deletions, ridge=ridge)
    first = stream.insert(a, a.sum(1))
    # A few power steps estimate it from a Gram matrix.
    assert stream.solve().condition == pytest.approx(scaled_condition(a), rel=0.1)
    stream.delete(first)
    dead = a.copy()
    dead[:, 2] = 0
    first = stream.insert(dead, a.sum(1))
    assert stream.solve().condition == pytest.approx(scaled_condition(dead), rel=0.1)
    stream.delete(first)
    a[:, 5] = a[:, 4]
    stream.insert(a, a.sum(1))
    assert stream.solve().condition == math.inf
    assert json.loads(json.dumps(stream.report(), allow_nan=False))["condition"] is None


def test_saved_streams_know_how_rows_were_given(tmp_path):
    a, b = draw(40, 3)
    stream = DynamicLeastSquares(3, intercept=True)
    stream.insert(a, b)
    again = load_least_squares(save_least_squares(tmp_path / "s.safetensors", stream))
    assert np.array_equal(again.solve().intercept, stream.solve().intercept)
    assert again.predict(a).shape == (40,)


def test_a_journal_replays_arrays(tmp_path):
    a, b = draw(40, 3)
    journal = JournaledLeastSquares(
        tmp_path / "stream", DynamicLeastSquares(3, intercept=True, keep_rows=False, dtype="float32")
    )
    a, b = a.astype("float32"), b.astype("float32")
    first = journal.insert(a[:20], b[:20])
    journal.insert(torch.from_numpy(a[20:30]), torch.from_numpy(b[20:30]))
    journal.insert(a[30].tolist(), float(b[30]))
    journal.delete(first, a[:20], b[:20])
    journal.close()
    again = JournaledLeastSquares(tmp_path / "stream")
    again.close()
    assert same_state(again.stream, journal.stream)
    assert np.array_equal(again.stream.predict(a), journal.stream.predict(a))
    assert again.stream.predict(a[0]).shape == ()


def test_states_of_version_1_are_read_and_newer_ones_refused():
    a, b = draw(10, 3)
    stream = DynamicLeastSquares(3)
    stream.insert(torch.from_numpy(a), torch.from_numpy(b))
    state = stream.state_dict()
    meta = json.loads(bytes(state["meta"].tolist()))
    old = {"version": 1, "choice": meta["choice"], "rows": 10}
    old["config"] = {k: v for k, v in meta["config"].items() if k not in ("intercept", "forgetting")}
    state["meta"] = torch.tensor(list(json.dumps(old).encode()), dtype=torch.uint8)
    again = DynamicLeastSquares.from_state_dict(state)
    assert torch.equal(again.solve().x, stream.solve().x)
    state["meta"] = torch.tensor(list(json.dumps(meta | {"version": 3}).encode()), dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="state version 2, got 3; upgrade"):
        DynamicLeastSquares.from_state_dict(state)


def test_the_stop_rule_takes_arrays():
    a, b = draw(1200, 4)
    reports = []
    for convert in (np.asarray, torch.from_numpy):
        stream = DynamicLeastSquares(4, intercept=True)
        rule = HeldOutStop(convert(a[1000:]), convert(b[1000:]))
        for start in range(0, 1000, 100):
            stream.insert(convert(a[start : start + 100]), convert(b[start : start + 100]))
            reports.append(rule.check(stream))
    assert reports[:10] == reports[10:]
