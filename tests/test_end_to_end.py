"""From an encoders file to a layer: the layer's error is the figure that the report gives."""

import numpy as np
import pytest
import torch

from stl_algebra import TileFormat, load_encoders, save_encoders
from stl_algebra.algorithms.fit import truncate
from stl_algebra.exact.catalogue import exact_algorithm
from stl_kernels import STLLinear
from stl_search.judging.sampled import sampled_error
from stl_search.matrices.readers import load_matrices


@pytest.mark.slow
@pytest.mark.parametrize("rank", [48, 32])
def test_layer_error_on_captured_layers_is_the_reported_figure(rank, tmp_path):
    algorithm = truncate(exact_algorithm(TileFormat(4, 4, 4)), rank, 1e-5)
    encoders = load_encoders(save_encoders(tmp_path / "a.safetensors", algorithm)).algorithm
    for pair in load_matrices("minilm"):
        linear = torch.nn.Linear(*pair.w.shape, bias=False)
        linear.weight.data = torch.from_numpy(pair.w.T.astype(np.float32)).contiguous()
        layer = STLLinear.from_linear(linear, encoders)
        with torch.no_grad():
            produced = layer(torch.from_numpy(pair.x.astype(np.float32))).double().numpy()
        exact = pair.x @ pair.w
        error = np.sum((produced - exact) ** 2) / np.sum(exact**2)
        assert error == pytest.approx(sampled_error(algorithm, pair).nmse, rel=1e-5, abs=1e-10)
