"""The prediction's logic on made-up peaks, and peaks on disk. No assertion on times of this machine."""

import json

import pytest
import torch

from stl_algebra import InvalidInput, TileFormat, definition
from stl_kernels import Peaks, common_gpus, load_peaks, measure_and_store_peaks, predict, store_peaks
from stl_kernels.device.peaks import STEPS, device_name, peaks_file, seconds_on
from stl_kernels.speed import peak_measurement
from stl_kernels.speed.prediction import resolve_peaks

EXACT = definition(TileFormat(4, 4, 4))
LINE = ((1e6, 1e-4), (1e9, 1e-1))


def measured(**curves):
    return Peaks(
        "unit", {"float32": 1e10}, 1e11, 1e-9, "test", {"float32": dict.fromkeys(STEPS, LINE) | curves}
    )


def test_data_sheet_follows_the_formulas():
    peaks = Peaks("unit", {"float32": 1e12}, 1e11, 0.0, "test")
    p = predict((4096, 4096, 4096), EXACT, "float32", peaks)
    assert p.core == pytest.approx(p.dense, rel=1e-12)
    assert p.encode == pytest.approx((1 + 4) * 4096**2 * 4 / 1e11)
    assert p.total == p.encode + p.core + p.decode


@pytest.mark.parametrize("device", [*common_gpus(), measured()], ids=[*common_gpus(), "measured"])
def test_single_tokens_are_slower_than_dense(device):
    for inner, columns in ((2048, 2048), (3584, 18944)):
        assert "slower than dense" in predict((1, inner, columns), EXACT, "float32", device).verdict


def test_curves_pass_through_their_points_and_keep_their_end_rates():
    curve = ((10.0, 1.0), (1000.0, 4.0))
    assert [seconds_on(curve, w) for w in (10, 100, 1000)] == pytest.approx([1.0, 2.0, 4.0])
    assert seconds_on(curve, 5) == pytest.approx(0.5)
    assert seconds_on(curve, 4000) == pytest.approx(16.0)


def test_measured_curves_are_read_per_step_and_tiling():
    slow = tuple((work, 10 * seconds) for work, seconds in LINE)
    base = predict((1024, 1024, 1024), EXACT, "float32", measured(), tiling="strided")
    for step in ("dense", "core", "encode strided", "decode strided"):
        changed = predict((1024, 1024, 1024), EXACT, "float32", measured(**{step: slow}), tiling="strided")
        for name in ("encode", "core", "decode", "dense"):
            factor = 10 if step.startswith(name) else 1
            assert getattr(changed, name) == pytest.approx(factor * getattr(base, name), rel=1e-3)
    other = measured(**{"encode consecutive": slow})
    assert predict((1024, 1024, 1024), EXACT, "float32", other, tiling="strided") == base


def test_peaks_round_trip_and_bad_files_are_refused(tmp_path):
    path = store_peaks(measured(), tmp_path / "p.json")
    assert load_peaks("cpu", path) == measured()
    for content in ("{", "[]", "{}", json.dumps({**json.loads(path.read_text()), "bandwidth": float("nan")})):
        path.write_text(content)
        with pytest.raises(InvalidInput, match="peaks file"):
            load_peaks("cpu", path)


def test_wrong_arguments_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("STL_ALGEBRA_CACHE", str(tmp_path))
    with pytest.raises(InvalidInput, match="measure_and_store_peaks"):
        predict((8, 8, 8), EXACT, "float32", "cpu")
    with pytest.raises(InvalidInput, match=r"device: .*H200"):
        predict((8, 8, 8), EXACT, "float32", "abacus")
    for name in common_gpus():
        assert resolve_peaks(name.lower()) == resolve_peaks(name)
    with pytest.raises(InvalidInput, match="dtype"):
        predict((8, 8, 8), EXACT, "int8")
    with pytest.raises(InvalidInput, match="shape"):
        predict((0, 8, 8), EXACT)
    with pytest.raises(InvalidInput, match="device"):
        peak_measurement.measure_peaks(device="abacus")


@pytest.mark.slow
def test_measured_peaks_are_stored_merged_and_read_by_predict(tmp_path, monkeypatch):
    monkeypatch.setenv("STL_ALGEBRA_CACHE", str(tmp_path))
    small = ((16, 32), 1 << 10)
    monkeypatch.setattr(peak_measurement, "_SIZES", {"cpu": small})
    first, path = measure_and_store_peaks(torch.float32)
    assert path == peaks_file("cpu")
    assert path.parent == tmp_path / "peaks"
    both, _ = measure_and_store_peaks(torch.bfloat16)
    assert set(both.curves) == {"float32", "bfloat16"}
    assert both.curves["float32"] == first.curves["float32"]
    assert load_peaks("cpu") == both
    assert [len(first.curves["float32"][step]) for step in STEPS] == [2] * 6
    assert predict((64, 64, 64), EXACT, "float32", "cpu") == predict((64, 64, 64), EXACT, "float32", both)


@pytest.mark.parametrize(("threads", "words"), [(1, ", 1 thread"), (2, ", 2 threads"), (12, ", 12 threads")])
def test_a_processors_name_counts_its_threads(monkeypatch, threads, words):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert device_name("cpu").endswith(words)
