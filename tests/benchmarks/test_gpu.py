"""The GPU script's own code, on tiny shapes in Triton's interpreter, and what it needs to be installed."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu as bench_gpu
from stl_algebra import Unavailable
from stl_kernels import common_gpus, measure_peaks

NEEDED = {"torch", "triton", "numpy", "safetensors"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="stands in for a GPU where there is none")
def test_every_method_is_measured_checked_and_tabulated(tmp_path, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(bench_gpu, "gpu_of_model", lambda model: common_gpus()["H100"])
    peaks = measure_peaks(torch.float16, "cpu", rounds=1, sizes=(16, 32), copied=1 << 10)
    shapes = [(9, 8, 12), (12, 8, 8)]
    arguments = {"dtype": torch.float16, "ranks": (3, 5), "rounds": 1}
    results = bench_gpu.run(shapes, peaks, tmp_path / "layer.json", "cpu", **arguments)
    methods = ["dense", "stl3", "stl3 fused", "stl5", "stl5 fused"]
    assert [(tuple(r["shape"]), r["method"]) for r in results] == [(s, m) for s in shapes for m in methods]
    for entry in results:
        assert entry["min_s"] <= entry["median_s"] <= entry["max_s"]
        if entry["method"] != "dense":
            assert 0 < entry["error"] < 1e-2
            assert entry["fused"] == ("fused" in entry["method"])
            assert entry["rule_fuses"] in (True, False)
    stored = json.loads((tmp_path / "layer.json").read_text())
    assert stored["results"] == results
    assert stored["peaks"]["bandwidth"] == peaks.bandwidth
    assert stored["sheet"]["vector"] == common_gpus()["H100"].vector
    assert {"torch", "triton"} <= set(stored["versions"])
    # The last table has a line for each result, also where replays were measured.
    results[0]["graph"], results[0]["graph_speedup"] = {"median_s": 1e-3}, 1.0
    lines = bench_gpu.table(results).splitlines()
    assert len(lines) == 1 + len(results)
    assert all(method in line for line, method in zip(lines[1:], methods * 2, strict=True))


def test_a_wrong_kernel_is_no_result(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(bench_gpu, "error_to_float64", lambda *_: float("nan"))
    peaks = common_gpus()["H100"]
    with pytest.raises(bench_gpu.StlError, match="relative error"):
        bench_gpu.measure((8, 8, 8), peaks, None, device="cpu", dtype=torch.float16, ranks=(3,), rounds=1)


@pytest.mark.parametrize("shape", [(8, 16), (4, 4)])
def test_two_of_four_are_kept(shape):
    weight = torch.randn(shape)
    sparse = bench_gpu.two_four(weight).reshape(-1, 4)
    dropped = (weight.reshape(-1, 4) - sparse).abs().amax(1)
    assert ((sparse != 0).sum(1) == 2).all()
    kept = torch.where(sparse != 0, sparse.abs(), torch.inf).amin(1)
    assert (dropped <= kept).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_nothing_is_measured():
    with pytest.raises(Unavailable, match="nothing was measured"):
        bench_gpu.main([])


@pytest.mark.slow
def test_the_script_needs_four_packages():
    """Everything else that this project installs is hidden; what those four bring along may be imported."""
    hidden = {"scipy", "numba", "spgrep", "optuna", "rich", "click", "plotly", "matplotlib", "transformers"}
    assert not hidden & NEEDED
    program = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
import benchmarks.gpu
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
