"""Whether core and decode run as one kernel: who decides, what is remembered, who refuses."""

import importlib.util
import json
from dataclasses import replace

import pytest
import torch

from stl_algebra import TileFormat, Unavailable, definition
from stl_kernels import STLLinear, common_gpus, predict, stl_matmul
from stl_kernels.backends.triton import TritonBackend
from stl_kernels.contract.calls import Linear
from stl_kernels.device.blocks import CORE_BLOCKS, entries_at_once, fused_blocks
from stl_kernels.device.fusion import FUSED, TWO_KERNELS, DeviceFacts, fuses
from stl_kernels.device.peaks import gpu_of_model
from stl_kernels.device.step_times import step_times

EXACT = definition(TileFormat(2, 2, 2))
H100 = "NVIDIA H100 80GB HBM3"
needs_interpreter = pytest.mark.skipif(
    torch.cuda.is_available() or importlib.util.find_spec("triton") is None,
    reason="kernels run in Triton's interpreter where there is no GPU",
)


GPU = DeviceFacts(H100)


@pytest.mark.parametrize("measured", [None, FUSED, TWO_KERNELS])
def test_orders_are_obeyed_and_measurements_decide(measured):
    assert fuses(True, measured)
    assert not fuses(False, measured)
    assert fuses(None, measured) == (measured == FUSED)


class Watched:
    """A Triton backend with given facts and times that says how each call was computed."""

    def __init__(self, facts, seconds=lambda run: 1.0):
        self.backend = TritonBackend(lambda device: facts, seconds)
        self.taken = []
        for name in ("_core_decode", "_core_then_decode"):
            setattr(self.backend, name, self.watching(name, getattr(self.backend, name)))

    def watching(self, name, own):
        def run(call, encoded):
            self.taken.append(name)
            return own(call, encoded)

        run.__name__ = name
        return run

    def linear(self, fused=None, columns=12):
        self.taken.clear()
        self.backend.linear(call(fused, columns))
        return self.taken


def call(fused=None, columns=12):
    tensors = (
        torch.randn(6, 8),
        torch.tensor(EXACT.encode_x),
        torch.randn(EXACT.rank, 4, -(-columns // 2)),
        torch.tensor(EXACT.decode),
        torch.randn(columns),
    )
    return Linear(*(t.half() for t in tensors), columns, 2, 2, 2, None, False, fused, "triton")


@pytest.mark.slow
@needs_interpreter
def test_the_interpreter_fuses_only_when_told():
    watched = Watched(DeviceFacts(interpreted=True))
    ways = {fused: list(watched.linear(fused)) for fused in (None, False, True)}
    assert ways == {None: ["_core_then_decode"], False: ["_core_then_decode"], True: ["_core_decode"]}
    with pytest.raises(Unavailable, match="interpreter"):
        watched.backend.tune(call())


@pytest.mark.slow
@needs_interpreter
@pytest.mark.parametrize("winner", [FUSED, TWO_KERNELS])
def test_a_measurement_decides_and_is_kept_on_disk(winner, monkeypatch, tmp_path):
    monkeypatch.setenv("STL_ALGEBRA_CACHE", str(tmp_path))
    times = {"_core_decode": 1.0 if winner == FUSED else 3.0, "_core_then_decode": 2.0}
    watched = Watched(GPU, lambda run: times.get(run.func.__name__, 1.0))
    assert watched.backend.tune(call()) == (winner == FUSED)
    (file,) = (tmp_path / "autotune").iterdir()
    assert winner in json.loads(file.read_text()).values()
    way = "_core_decode" if winner == FUSED else "_core_then_decode"
    assert watched.linear() == [way]
    # Another shape was not measured.
    assert watched.linear(columns=10) == ["_core_then_decode"]


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
    assert found.total == found.encode + found.core + found.decode
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
