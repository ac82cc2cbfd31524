"""Walks on a GPU, in numba's simulator: they keep the tensor and the symmetry, and are reproducible."""

import json
import os
import subprocess
import sys

import pytest
from numba import cuda

from stl_algebra.errors import Unavailable
from stl_algebra.exact import search

#: The simulator has to be chosen before numba is imported.
PROGRAM = """
import json

import numpy as np

from stl_algebra.algorithms.verify import verify
from stl_algebra.exact import cyclic_walks
from stl_algebra.exact.cuda_walks import walk_on_gpu
from stl_algebra.exact.cyclic_graph import Invariant
from stl_algebra.exact.pools import Draw


def described(found):
    algorithm = found.algorithm("a walk")
    turned = [np.roll(found.orbits, -1, axis=0).tolist(), found.fixed.tolist()]
    return [found.rank, verify(algorithm).gf2, algorithm.rank, turned]


def draws(side, seeds):
    start = Invariant.with_fixed(side, [sum(1 << (side + 1) * i for i in range(side))])
    goals = (0, start.rank - 3)
    return [Draw(start, goal, True, 40, 1 + seed % 3, seed, 0) for seed in seeds for goal in goals]


many = draws(3, range(6))
walked = [described(found) for found in walk_on_gpu(many, 600)]
again = [described(found) for found in walk_on_gpu(many[::-1], 600)][::-1]
wide = [described(found) for found in walk_on_gpu(draws(6, range(2)), 30)]
cyclic_walks._MANY = 24


def searched(batches):
    attempts = cyclic_walks.search_invariant_on_gpu(3, target_rank=23, steps=3200, numbers=range(batches))
    return [(a.number, a.lowest, *described(a.outcome)) for a in attempts]


search = searched(7)
same = searched(7) == search
print(json.dumps({"start": many[0].start.rank, "walked": walked, "repeated": walked == again, "wide": wide,
                  "search": search, "same": same}))
"""


@pytest.fixture(scope="module")
def found():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
def test_walks_keep_the_tensor_and_go_down(found):
    ranks = [rank for rank, *_ in found["walked"]]
    assert max(ranks) <= found["start"]
    assert min(ranks) < found["start"] - 3
    assert all(exact and rank == length for rank, exact, length, _ in found["walked"] + found["wide"])
    # Every other walk ends at its first reduction.
    assert min(ranks[1::2]) >= found["start"] - 5


@pytest.mark.slow
def test_a_walk_depends_on_its_own_seed_alone(found):
    assert found["repeated"]
    assert len({json.dumps(walk) for walk in found["walked"]}) > 4


@pytest.mark.slow
def test_a_search_goes_down_and_is_reproducible(found):
    lowest = [low for _, low, *_ in found["search"]]
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[-1] < 27
    assert {number for number, *_ in found["search"]} == set(range(7))
    assert all(exact for _, _, _, exact, *_ in found["search"])
    assert found["same"]


@pytest.mark.skipif(cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_the_method_says_so():
    with pytest.raises(Unavailable, match="numba-cuda"):
        next(search("3x3x3", 23, method="cyclic-flips-gpu", start="definition"))
