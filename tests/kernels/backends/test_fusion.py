"""Whether core and decode run as one kernel: who decides, what is remembered, who refuses."""

import json
from dataclasses import replace

import pytest
import torch

from stl_algebra import TileFormat, Unavailable, definition
from stl_kernels import STLLinear, backends, common_gpus, predict, stl_matmul
from stl_kernels.backends import get_backend
from stl_kernels.device import autotune
from stl_kernels.device.blocks import CORE_BLOCKS, entries_at_once, fused_blocks
from stl_kernels.device.peaks import gpu_of_model
from stl_kernels.device.step_times import step_times

EXACT = definition(TileFormat(2, 2, 2))
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def backend():
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("stands in for a GPU where there is none")
    return get_backend("triton", torch.device("cpu"), torch.float16)


@pytest.fixture
def pretended(backend, monkeypatch, tmp_path):
    """The backend in the belief that it runs on an H100; kernels run in the interpreter all the same."""
    monkeypatch.setattr(backends.triton, "interpreted", lambda: False)
    monkeypatch.setattr(type(backend), "unavailable", lambda self, device, dtype: "")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: H100)
    monkeypatch.setenv("STL_KERNELS_CACHE", str(tmp_path))
    monkeypatch.setattr(autotune, "_memory", {})
    return backend


def which(backend, monkeypatch):
    """A list that gets the name of each way that `backend` computes a linear call from now on."""
    taken = []
    for name in ("_core_decode", "_core_then_decode"):
        own = getattr(type(backend), name)
        monkeypatch.setattr(
            type(backend), name, lambda self, *a, own=own, name=name: (taken.append(name), own(self, *a))[1]
        )
    return taken


def layer(fused=None, columns=12):
    dense = torch.nn.Linear(8, columns, dtype=torch.float16)
    return STLLinear.from_linear(dense, EXACT, fused=fused, backend="triton")


def test_the_interpreter_fuses_only_when_told(backend, monkeypatch):
    taken = which(backend, monkeypatch)
    x = torch.randn(6, 8, dtype=torch.float16)
    for fused in (None, False, True):
        layer(fused)(x)
    assert taken == ["_core_then_decode", "_core_then_decode", "_core_decode"]
    with pytest.raises(Unavailable, match="interpreter"):
        layer().tune(x)


@pytest.mark.parametrize("winner", ["fused", "two kernels"])
def test_a_measurement_decides_and_is_kept_on_disk(pretended, winner, monkeypatch, tmp_path):
    seconds = {"_core_decode": 1.0 if winner == "fused" else 3.0, "_core_then_decode": 2.0}
    monkeypatch.setattr(autotune, "_time", lambda run: seconds.get(run.func.__name__, 1.0))
    x = torch.randn(6, 8, dtype=torch.float16)
    assert layer().tune(x) == (winner == "fused")
    (file,) = tmp_path.iterdir()
    assert winner in json.loads(file.read_text()).values()
    autotune._memory.clear()
    taken = which(pretended, monkeypatch)
    layer()(x)
    assert taken == ["_core_decode" if winner == "fused" else "_core_then_decode"]
    # Another shape was not measured: the rule speaks for it, and at this size a launch is all that counts.
    taken.clear()
    layer(columns=10)(x)
    assert taken == ["_core_decode"]


def test_unknown_devices_do_not_fuse(pretended, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H100 PCIe")
    monkeypatch.setattr(autotune, "_time", lambda run: 1.0)
    taken = which(pretended, monkeypatch)
    layer()(torch.randn(6, 8, dtype=torch.float16))
    assert taken == ["_core_then_decode"]


def test_backends_without_the_kernel_refuse():
    x, w = torch.randn(4, 6), torch.randn(6, 4)
    for name in ("reference", "cpu"):
        with pytest.raises(Unavailable, match="no fused decode"):
            stl_matmul(x, w, EXACT, fused=True, backend=name)
        assert torch.allclose(stl_matmul(x, w, EXACT, fused=False, backend=name), x @ w, atol=1e-5)
    with pytest.raises(Unavailable, match="no choice of kernels"):
        STLLinear(6, 4, EXACT, backend="cpu").tune(x)


@pytest.mark.parametrize("name", common_gpus())
def test_fusing_pays_for_few_inner_tiles_and_not_for_many(name):
    """The saved traffic does not depend on K, the re-read traffic grows with it: one threshold."""
    algorithm = definition(TileFormat(4, 4, 4))
    pays = [predict((4096, inner, 4096), algorithm, device=name).fusion_pays for inner in range(16, 2048, 16)]
    assert pays == sorted(pays, reverse=True)
    assert pays[0]
    assert not pays[-1]


def test_fused_time_follows_the_formula():
    peaks = replace(common_gpus()["H100"], launch=0.0)
    (rows, inner, columns), rank = (4096, 4096, 4096), 24
    found = step_times((rows, inner, columns), (4, 4, 4), rank, peaks, "bfloat16")
    i, l, j = rows // 4, inner // 4, columns // 4
    numbers = min(rank * (i * l * -(-j // b.j) + l * j * -(-i // b.i)) for b in fused_blocks(16))
    assert found.fused == pytest.approx((numbers + rows * columns) * 2 / peaks.bandwidth)
    # With a memory that costs nothing arithmetic remains: the products', and the decoding outside the units.
    fast = step_times((rows, inner, columns), (4, 4, 4), rank, replace(peaks, bandwidth=1e30), "bfloat16")
    assert fast.fused == pytest.approx(
        2 * rank * i * l * j / peaks.flops["bfloat16"] + 2 * rank * 16 * i * j / peaks.vector
    )
    assert found.total == found.encode + min(found.fused, found.core + found.decode)
    assert step_times((8, 8, 8), (4, 4, 4), 24, replace(peaks, vector=None), "bfloat16").fused == float("inf")


def test_models_are_matched_exactly():
    assert gpu_of_model(H100) == common_gpus()["H100"]
    assert gpu_of_model("NVIDIA H100 PCIe") is None


@pytest.mark.parametrize("entries", [1, 2, 4, 6, 9, 16, 25, 64, 81, 1000])
def test_blocks_fit_the_registers(entries):
    blocks = fused_blocks(entries)
    assert blocks
    for block in (*blocks, *CORE_BLOCKS):
        sides = (block.i, block.j, block.l)
        assert all(side >= 16 and side & (side - 1) == 0 for side in sides)
    for block in blocks:
        assert entries_at_once(entries) * block.i * block.j <= 128 * 32 * block.warps
