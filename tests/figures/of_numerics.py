"""Where the figures of the pages on dynamic least squares and on Gauss-Newton come from."""

import inspect

from stl_algebra.numerics.gauss_newton.selector import SMALLEST_ASPECT, SMALLEST_SIDE
from stl_algebra.numerics.least_squares.choice import ROWS_PER_FEATURE, SMALLEST_EPS
from stl_algebra.numerics.least_squares.sampling import LeverageSampler
from tests.figures.stored import results

LEAST_SQUARES, GAUSS_NEWTON = "docs/dynamic-least-squares.md", "docs/gauss-newton.md"
STREAMS = ("gaussian", "rotated", "coherent", "rotating", "adaptive-targets", "adaptive-rows")


def dls():
    return results("numerics/dls.json")


def accuracy(sampler, eps=0.1):
    rows = results("numerics/dls-accuracy.json")
    return {row["stream"]: row for row in rows if row["sampler"] == sampler and row["eps"] == eps}


def worst(sampler, eps=0.1):
    found = accuracy(sampler, eps)
    return tuple(found[stream]["worst"] for stream in STREAMS)


def seeds(sampler):
    (number,) = {row["of"] for row in accuracy(sampler).values()}
    return (number,)


def of_uniform_sampling():
    """Seeds a stream, none of which is within eps."""
    assert all(row["within"] == 0 for row in accuracy("uniform").values())
    return seeds("uniform")


def microseconds_of_peers():
    peers = dls()["peers_seconds_per_row_d64"]
    names = (
        "exact, deletions=none, row by row", "exact, deletions=any, row by row",
        "padasip FilterRLS", "river BayesianLinearRegression", "scipy qr_insert",
    )  # fmt: skip
    batched = next(row["gram"] for row in dls()["seconds_per_row"] if row["d"] == 64)
    return tuple(1e6 * seconds for seconds in (*(peers[name] for name in names), batched))


def of_a_sampled_row():
    """Products a feature: with the columns of the sketch and with the solution."""
    return (inspect.signature(LeverageSampler).parameters["columns"].default + 1,)


def newton():
    return results("numerics/gauss-newton.json")


def sketched_by_aspect():
    return {
        row["parameters"] // row["residuals"]: row["dense"] / row["sketched"]
        for row in newton()["unstructured"]
    }


FIGURES = [
    (LEAST_SQUARES, r"about (\d+) d a row", of_a_sampled_row),
    (
        LEAST_SQUARES,
        r"([\d.]+) % of the rows were kept; sampling was ([\d.]+) times faster than the exact Gram matrix "
        r"and (\d+) times faster",
        lambda: (
            100 * dls()["d512"]["kept_share"],
            dls()["d512"]["faster_than_gram"],
            dls()["d512"]["faster_than_rls"],
        ),
    ),
    (
        LEAST_SQUARES,
        r"grew like d\^([\d.]+) sampled and d\^([\d.]+) exact",
        lambda: tuple(dls()["exponents_in_d"][name] for name in ("sampled_marginal", "gram_marginal")),
    ),
    (
        LEAST_SQUARES,
        r"falls like n\^-([\d.]+)",
        lambda: (-dls()["exponents_in_n"]["sampled"],),
    ),
    (LEAST_SQUARES, r"grows like n\^(\d+\.\d+)", lambda: (dls()["exponents_in_n"]["resolve"],)),
    (LEAST_SQUARES, r"over time, (\d+) seeds a stream", lambda: seeds("full")),
    (
        LEAST_SQUARES,
        r"([\d.]+) Gaussian, ([\d.]+) rotated with condition 1e6, ([\d.]+) coherent, ([\d.]+) rotating "
        r"covariance, ([\d.]+) and ([\d.]+) against two",
        lambda: worst("full"),
    ),
    (LEAST_SQUARES, r"it is at most ([\d.]+)\. Without", lambda: (max(worst("full", 0.01)),)),
    (LEAST_SQUARES, r"one adversary reaches ([\d.]+);", lambda: (max(worst("no-residual")),)),
    (LEAST_SQUARES, r"fails every stream \((\d+) seeds each\)", of_uniform_sampling),
    (
        LEAST_SQUARES,
        r"exact without deletions (\d+), with deletions by handle (\d+), padasip's RLS (\d+), river's "
        r"Bayesian linear regression (\d+), scipy's `qr_insert` (\d+)\. In batches of 2048 exact takes "
        r"([\d.]+);",
        microseconds_of_peers,
    ),
    *(
        (page, words, lambda: (ROWS_PER_FEATURE, SMALLEST_EPS))
        for page, words in (
            (LEAST_SQUARES, r"below (\d+) d rows and at eps under (\d+\.\d+);"),
            ("docs/theory.md", r"below (\d+) d rows and at eps under (\.\d+);"),
        )
    ),
    (
        GAUSS_NEWTON,
        r"smaller side at least (\d+), aspect ratio at least (\d+)",
        lambda: (SMALLEST_SIDE, SMALLEST_ASPECT),
    ),
    (
        GAUSS_NEWTON,
        r"\((\d+) thousand parameters",
        lambda: (newton()["table"][0]["parameters"] / 1e3,),
    ),
    (
        GAUSS_NEWTON,
        r"grows like n\^([\d.]+) sketched, n\^([\d.]+) structured, n\^([\d.]+) dense",
        lambda: tuple(
            newton()["exponents_in_n_per_step"][name] for name in ("sketched", "structured", "dense")
        ),
    ),
    (
        GAUSS_NEWTON,
        r"the sketch is ([\d.]+) times and structured ([\d.]+) times faster",
        lambda: tuple(
            newton()["n2048_faster_than_explicit_gram"][name] for name in ("sketched", "structured")
        ),
    ),
    (
        GAUSS_NEWTON,
        r"is ([\d.]+), ([\d.]+) and ([\d.]+) times faster at 8, 12 and 20",
        lambda: tuple(sketched_by_aspect()[aspect] for aspect in (8, 12, 20)),
    ),
]
