"""Dynamic least squares against lstsq on the live rows, its errors, and continuing from saved states."""

import math

import pytest
import torch

from benchmarks.accuracy import largest_excess
from stl_algebra import InvalidInput
from stl_algebra.numerics.least_squares.sampling import LeverageSampler
from stl_algebra.numerics.least_squares.stream import DynamicLeastSquares


def draw(m, d, k=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(m, d, generator=g, dtype=torch.float64)
    return a, a @ torch.ones(d, k, dtype=torch.float64) + torch.randn(m, k, generator=g, dtype=torch.float64)


def rotated(m, d):
    """Rows of condition number 1e5 whose columns all look alike."""
    a, b = draw(m, d)
    turn = torch.linalg.qr(draw(d, d, seed=3)[0]).Q
    return (a * torch.logspace(0, -5, d, dtype=torch.float64)) @ turn, b


def excess(x, a, b):
    best = torch.linalg.lstsq(a, b, driver="gelsd").solution
    return float((a @ x - b).square().sum() / (a @ best - b).square().sum()) - 1


def same_state(first, second):
    mine, theirs = first.state_dict(), second.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def churn(stream, a, b, pairs, spikes):
    """Insert/delete pairs that end with exactly the rows of a and b live, each deleted many times before."""
    count = len(a)
    live = [stream.insert(a[i : i + 1], b[i : i + 1]) for i in range(count)]
    for pair in range(pairs):
        if spikes and pair % 50 == 0:
            stream.delete(stream.insert(1e6 * a[:1], -1e6 * b[1:2]))
        index = pair % count
        stream.delete(live[index])
        live[index] = stream.insert(a[index : index + 1], b[index : index + 1])


PAIRS = [1000, pytest.param(100_000, marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("pairs", PAIRS)
def test_exact_after_insert_delete_pairs_with_spikes(pairs):
    a, b = draw(400, 48)
    stream = DynamicLeastSquares(48, mode="exact")
    churn(stream, a, b, pairs, spikes=True)
    assert excess(stream.solve().x, a, b) <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("pairs", PAIRS)
def test_exact_after_insert_delete_pairs_of_rotated_rows(pairs):
    a, b = rotated(400, 48)
    stream = DynamicLeastSquares(48, mode="exact")
    churn(stream, a, b, pairs, spikes=False)
    assert excess(stream.solve().x, a, b) <= 1e-9


@pytest.mark.parametrize("deletions", ["any", "window"])
def test_rotated_rows_of_condition_1e5(deletions):
    a, b = rotated(600, 48)
    stream = DynamicLeastSquares(48, mode="exact", deletions=deletions)
    for start in range(0, 600, 30):
        stream.insert(a[start : start + 30], b[start : start + 30])
    stream.expire(395)
    assert stream.rows == 395
    assert excess(stream.solve().x, a[-395:], b[-395:]) <= 1e-9


@pytest.mark.parametrize(
    ("deletions", "resolved", "reported"), [("none", 1e6, 1e8), ("any", 1e6, 1e8), ("window", 1e13, 1e15)]
)
@pytest.mark.parametrize("d", [2, 32])
def test_the_condition_that_is_resolved(deletions, resolved, reported, d):
    frame, turn = (torch.linalg.qr(draw(rows, d, seed=rows)[0]).Q for rows in (200, d))
    for condition, flagged in ((resolved / math.sqrt(d), False), (reported, True)):
        scales = torch.logspace(0, -math.log10(condition), d, dtype=torch.float64)
        stream = DynamicLeastSquares(d, deletions=deletions)
        stream.insert((frame * scales) @ turn, frame.sum(1))
        assert ("rank_deficient" in stream.solve().flags) == flagged


@pytest.mark.slow
@pytest.mark.parametrize("deletions", ["any", "window", "none"])
def test_batching_does_not_matter(deletions):
    a, b = draw(700, 24, 3)
    answers = []
    for size in (700, 33, 1):
        stream = DynamicLeastSquares(24, 3, mode="exact", deletions=deletions)
        for start in range(0, 700, size):
            stream.insert(a[start : start + size], b[start : start + size])
        answers.append(stream.solve().x)
        assert torch.allclose(stream.residual(), (a @ answers[-1] - b).square().sum(0), rtol=1e-10)
    assert max(float((x - answers[0]).abs().max()) for x in answers) <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"deletions": "any"},
        {"deletions": "any", "keep_rows": False},
        {"deletions": "window"},
        {"deletions": "none"},
        {"deletions": "none", "mode": "sampled", "eps": 0.3},
        {"deletions": "none", "eps": 0.3},
    ],
)
def test_saved_state_continues_bit_for_bit(settings):
    a, b = draw(1300, 6)
    first = DynamicLeastSquares(6, **settings)
    first.insert(a[:700], b[:700])
    first.insert(a[700:705], b[700:705])
    second = DynamicLeastSquares.from_state_dict(first.state_dict())
    for stream in (first, second):
        stream.insert(a[705:], b[705:])
        if settings["deletions"] != "none":
            stream.delete(0, *((a[:700], b[:700]) if settings.get("keep_rows") is False else ()))
    assert same_state(first, second)
    assert torch.equal(first.solve().x, second.solve().x)


@pytest.mark.slow
def test_sampling_keeps_little_and_stays_within_eps():
    d = 16
    a, b = draw(300 * d, d)
    sampled = DynamicLeastSquares(d, mode="sampled", deletions="none", eps=0.1)
    automatic = DynamicLeastSquares(d, deletions="none", eps=0.1)
    for stream in (sampled, automatic):
        for start in range(0, len(a), 100):
            stream.insert(a[start : start + 100], b[start : start + 100])
            seen = slice(0, start + 100)
            assert math.sqrt(1 + excess(stream.solve().x, a[seen], b[seen])) - 1 <= 0.1
    assert sampled.kept_rows < 0.2 * sampled.rows
    assert automatic.choice.method == "sampled"
    assert "sampled from there" in automatic.choice.reason


def test_scores_are_leverages_of_the_augmented_rows():
    a, b = draw(200, 7)
    rows = torch.cat([a, b], dim=1)
    gram = rows.mT @ rows
    leverage = ((rows @ torch.linalg.inv(gram)) * rows).sum(1)
    best = torch.linalg.lstsq(a, b).solution
    errors = (a @ best - b).square()
    parts = ((a @ torch.linalg.inv(a.mT @ a)) * a).sum(1) + (errors / errors.sum()).squeeze(1)
    assert torch.allclose(parts, leverage, rtol=1e-10)
    # The sketch estimates the first part with relative errors of about sqrt(2 / columns).
    sampler = LeverageSampler(7, 1, 0.1, 0, torch.device("cpu"), columns=20_000)
    sampler.renew(gram)
    assert torch.allclose(sampler.scores(a, b), leverage, rtol=0.06)


HOSTILE = ["gaussian", "rotated", "coherent", "rotating", "adaptive-targets", "adaptive-rows"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("eps", [0.1, 0.01])
def test_hostile_streams_stay_within_eps(kind, eps):
    assert largest_excess(kind, eps, 0, "full") <= eps


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_uniform_sampling_fails_the_same_streams(kind):
    assert largest_excess(kind, 0.1, 0, "uniform") > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_sampling_without_the_residual_term_fails_the_adversary(seed):
    assert largest_excess("adaptive-targets", 0.1, seed, "no-residual") > 0.1
    assert largest_excess("adaptive-targets", 0.1, seed, "full") <= 0.1


def test_rank_deficient_answers_are_flagged_and_of_smallest_norm():
    a, b = draw(30, 8)
    a[:, 2] = 0
    a[:, 5] = a[:, 4]
    for deletions in ("any", "window"):
        stream = DynamicLeastSquares(8, deletions=deletions)
        assert stream.solve().flags[0] == "no_rows"
        for rows in (slice(0, 3), slice(3, 30)):
            stream.insert(a[rows], b[rows])
            upto = slice(0, rows.stop)
            found = stream.solve()
            assert "rank_deficient" in found.flags
            least = torch.linalg.lstsq(a[upto], b[upto], driver="gelsd", rcond=1e-10).solution
            assert torch.allclose(found.x, least, atol=1e-9)
        assert found.rank == 6
        stream.delete(0)
        stream.delete(1)
        assert stream.rows == 0
        assert torch.equal(stream.solve().x, torch.zeros(8, 1, dtype=torch.float64))


@pytest.mark.parametrize("deletions", ["any", "window"])
def test_deletion_below_full_rank_is_flagged_and_of_smallest_norm(deletions):
    a, b = draw(24, 8)
    stream = DynamicLeastSquares(8, deletions=deletions)
    for start in range(0, 24, 4):
        stream.insert(a[start : start + 4], b[start : start + 4])
    assert stream.solve().flags == ()
    for handle in range(5):
        stream.delete(handle)
    found = stream.solve()
    assert (found.rank, stream.rows) == (4, 4)
    assert set(found.flags) == {"fewer_rows_than_columns", "rank_deficient"}
    least = torch.linalg.lstsq(a[20:], b[20:], driver="gelsd").solution
    assert torch.allclose(found.x, least, atol=1e-9)


def test_rows_given_again_are_checked_bit_for_bit():
    a, b = draw(9, 4)
    stream = DynamicLeastSquares(4, keep_rows=False)
    handle = stream.insert(a, b)
    for wrong in (a * (1 + 1e-15), -a, a[:8]):
        with pytest.raises(InvalidInput, match=f"inserted under handle {handle}"):
            stream.delete(handle, wrong, b[: len(wrong)])
    with pytest.raises(InvalidInput, match="keep_rows is False"):
        stream.delete(handle)
    assert stream.rows == 9
    stream.delete(handle, a, b)
    assert stream.rows == 0


def test_merged_streams_equal_one():
    a, b = draw(90, 5)
    one, two = DynamicLeastSquares(5), DynamicLeastSquares(5)
    one.insert(a[:40], b[:40])
    two.insert(a[40:80], b[40:80])
    two.insert(a[80:], b[80:])
    renamed = one.merge(two)
    one.delete(renamed[0])
    keep = torch.cat([torch.arange(40), torch.arange(80, 90)])
    assert excess(one.solve().x, a[keep], b[keep]) <= 1e-12
    with pytest.raises(InvalidInput, match="other"):
        one.merge(one)


@pytest.mark.parametrize("deletions", ["any", "window"])
def test_every_error_leaves_the_state_as_it_was(deletions):
    a, b = draw(20, 4)
    stream = DynamicLeastSquares(4, deletions=deletions)
    used = stream.insert(a, b)
    stream.delete(used)
    live = stream.insert(a, b)
    bad = a.clone()
    bad[3, 1] = math.nan
    wrong = [
        (lambda: stream.insert(bad, b), "a: expected finite"),
        (lambda: stream.insert(a * 1e200, b), "a: expected finite"),
        (lambda: stream.insert(a, b / 0), "b: expected finite"),
        (lambda: stream.insert(a[:, :3], b), "d = 4"),
        (lambda: stream.insert(a, b.repeat(1, 2)), "b: expected shape"),
        (lambda: stream.insert(a.float(), b), "a: expected dtype"),
        (lambda: stream.insert(a[:0], b[:0]), "empty batch"),
        (lambda: stream.delete(99), "unknown 99"),
        (lambda: stream.delete(used), "deleted or expired"),
        (lambda: stream.delete(live, a + 1, b), "rows: expected"),
        (lambda: stream.expire(-1), "window"),
        (lambda: stream.load_state_dict({}), "state"),
    ]
    before = {key: value.clone() for key, value in stream.state_dict().items()}
    for act, message in wrong:
        with pytest.raises(InvalidInput, match=message):
            act()
        after = stream.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert excess(stream.solve().x, a, b) <= 1e-12
