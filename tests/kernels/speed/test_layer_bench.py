"""Layers beside the dense product: what is called, what an entry holds."""

import pytest
import torch

from stl_kernels import Peaks
from stl_kernels.speed.layer_bench import bench_shape, random_encoders

PEAKS = Peaks("a device", {"float32": 1e11}, 1e10, 1e-6, "made up")


def test_peers_run_beside_the_layers_on_the_same_input():
    seen = []

    def peer(dense, x):
        def run():
            seen.append(tuple(dense(x).shape))

        return run

    entries = bench_shape(
        (32, 16, 24),
        [random_encoders(24), random_encoders(30)],
        ["strided"],
        PEAKS,
        rounds=3,
        peers={"own": peer},
    )
    assert [entry["rank"] for entry in entries] == [24, 30]
    assert set(seen) == {(32, 24)}
    assert len(seen) >= 3
    for entry in entries:
        assert entry["peers"]["own"]["median_s"] > 0
        assert entry["speedup"] == pytest.approx(entry["dense"]["median_s"] / entry["stl"]["median_s"])
        assert entry["error"] < 1e-5


def test_the_packed_dense_product_is_the_dense_product():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN")
    from benchmarks.cpu_layers import PEERS

    dense, x = torch.nn.Linear(48, 80, bias=False), torch.randn(96, 48)
    for make in PEERS.values():
        torch.testing.assert_close(make(dense, x)(), dense(x))
