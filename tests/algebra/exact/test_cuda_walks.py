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


def described(found):
    algorithm = found.algorithm("a walk")
    turned = [np.roll(found.orbits, -1, axis=0).tolist(), found.fixed.tolist()]
    return [found.rank, verify(algorithm).gf2, algorithm.rank, turned]


def begin(side):
    return Invariant.with_fixed(side, [sum(1 << (side + 1) * i for i in range(side))])


def walks(side, seeds, steps, goal=0):
    starts = [begin(side)] * len(seeds)
    found = walk_on_gpu(starts, target_rank=goal, steps=steps, plus_after=40, slack=2, seeds=seeds)
    return [described(f) for f in found]


seeds = list(range(6))
walked = walks(3, seeds, 600)
stopped = walks(3, seeds, 600, begin(3).rank - 3)
again = walks(3, seeds[::-1], 600)[::-1]
wide = walks(6, [0, 1], 30)
# Some descents end on the way, and others begin in their places.
cyclic_walks._MANY, cyclic_walks._BATCHES = 24, 2


def searched(batches):
    attempts = cyclic_walks.search_invariant_on_gpu(3, target_rank=23, steps=400, numbers=range(batches))
    return [(a.number, a.lowest, *described(a.outcome)) for a in attempts]


search = searched(7)
same = searched(7) == search
print(json.dumps({"start": begin(3).rank, "walked": walked, "stopped": stopped, "wide": wide,
                  "repeated": walked == again, "search": search, "same": same}))
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
    # These end at their first reduction.
    assert min(rank for rank, *_ in found["stopped"]) >= found["start"] - 5


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
