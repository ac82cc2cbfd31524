"""How the encoders for float32 alone are made, on the smallest format."""

import pytest

from benchmarks.float32_frontier import publish, search
from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.scores import total
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.published import encoders


@pytest.mark.slow
def test_only_what_is_better_in_float32_is_published(tmp_path, monkeypatch):
    tile = TileFormat(2, 2, 2)
    found = search(tile, 5, 6, definition(tile), "the command")
    assert list(found) == [6, 5]
    for rank, algorithm in found.items():
        assert total(algorithm, "fp32") < total(encoders(tile, rank), "fp32")
    # Here it is a hair better, which is not worth encoders of its own.
    assert publish(found, tmp_path) == 0
    monkeypatch.setattr("benchmarks.float32_frontier.BETTER", 1.0)
    assert publish(found, tmp_path) == 2
    paths = sorted(tmp_path.iterdir())
    assert [path.stem for path in paths] == ["2x2x2-r5", "2x2x2-r6"]
    for path in paths:
        algorithm = load_encoders(path).algorithm
        assert (algorithm.name, algorithm.provenance.command) == (f"{path.stem}-fp32", "the command")
    assert publish(found, tmp_path) == 0
