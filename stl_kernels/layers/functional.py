"""Functions on tensors and algorithms: encode weights once, multiply through an algorithm.

What does not belong here: parameters and row grouping (`layers.linear`), op schemas (`ops`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.encoders_file import EncodersFile
from stl_algebra.algorithms.feature_layout import turned_onto
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.published import coarsest, own_dtypes, read_encoders
from stl_kernels.backends import AUTO
from stl_kernels.contract import checks
from stl_kernels.contract.tiles import TILINGS
from stl_kernels.layers import transforms
from stl_kernels.layers.options import LayerOptions

Encoders = BilinearAlgorithm | EncodersFile | str | Path


def as_algorithm(encoders: Encoders, dtype: torch.dtype | None = None) -> BilinearAlgorithm:
    """The algorithm of a value, of a loaded encoders file, of the file at a path, or of a published name.

    A name such as "4x4x4-r32" is one of the encoders that the package ships, unless a file is called so; of
    an exact one half precision takes the companion that amplifies rounding errors less (`dyadic.companion`).
    Float32 takes it as it is: rounding is no matter there. Values and files are taken as they are. Other
    programs' files are read too (`stl_algebra.factor_files`).

    Args:
        encoders: the value, file, path or name.
        dtype: of the arithmetic that follows, None for full precision.

    Raises:
        InvalidInput: none of these, the file is unreadable, or a dtype too coarse for these encoders.
    """
    if isinstance(encoders, BilinearAlgorithm):
        return encoders
    if isinstance(encoders, EncodersFile):
        return encoders.algorithm
    if isinstance(encoders, (str, Path)):
        algorithm = read_encoders(encoders).judged.algorithm
        half = dtype in (torch.float16, torch.bfloat16) and not Path(encoders).exists()
        least = coarsest(encoders) if half else None
        if least is not None and least.name not in own_dtypes(str(dtype)):
            raise InvalidInput("dtype", expected=f"{least.words} or finer for {encoders}", got=str(dtype))
        return companion(algorithm) if half else algorithm
    raise InvalidInput(
        "encoders",
        expected="a BilinearAlgorithm, a loaded encoders file, a path to one or a name such as 4x4x4-r32",
        got=type(encoders).__name__,
    )


def in_bases_of(encoders: Encoders, encode_x: Tensor) -> BilinearAlgorithm:
    """As `as_algorithm`, in the bases of a layer with this encode_x; its dtype may have changed since.

    A layer that was made with a calibration has its encoders turned inside the tiles (`sorting`).
    """
    ways = [as_algorithm(encoders, dtype) for dtype in (encode_x.dtype, None, torch.bfloat16)]
    if encode_x.is_meta:
        return ways[0]
    for way in ways:
        if torch.equal(encode_x, torch.tensor(way.encode_x).to(encode_x)):
            return way
    there = encode_x.detach().double().cpu().numpy()
    # The turn is found by a singular value decomposition, whose last digits differ between libraries.
    tolerance = max(4 * torch.finfo(encode_x.dtype).eps, 1e-12)
    turned = (turned_onto(way, there, tolerance) for way in ways if way.encode_x.shape == there.shape)
    return next((one for one in turned if one is not None), ways[0])


def check_tiling(tiling: str) -> bool:
    """Whether the tiling is strided.

    Raises:
        InvalidInput: it is neither "consecutive" nor "strided".
    """
    if tiling not in TILINGS:
        raise InvalidInput("tiling", expected=f"one of {', '.join(TILINGS)}", got=repr(tiling))
    return tiling == "strided"


def encode_weights(
    w: Tensor,
    encode_w: Tensor,
    tile: TileFormat,
    *,
    permutation: Tensor | None = None,
    tiling: str = "consecutive",
    backend: str = AUTO,
) -> Tensor:
    """Encoded weights (r, ceil(K/k), ceil(M/m)) of w (K, M); differentiable in both.

    Args:
        w: (K, M), the weight as in X @ W (the transpose of `torch.nn.Linear.weight`).
        encode_w: (r, k*m).
        tile: the tile format.
        permutation: (K,) int64, the order in which input features are tiled.
        tiling: "consecutive" or "strided"; the same that the activations are encoded with.
        backend: "auto" or a backend's name.

    Raises:
        InvalidInput: shapes, dtypes or devices that do not fit together.
    """
    strided = check_tiling(tiling)
    checks.check_together(w=w, encode_w=encode_w)
    checks.check_matrix("w", w)
    if permutation is not None:
        checks.check_permutation(permutation, w.shape[0], w.device)
        w = w.index_select(0, permutation)
    if strided:
        # Rows of W are features of X: a strided order of rows is the consecutive order of permuted rows.
        w = _strided_rows(w, tile.k)
    return transforms.encode(w, encode_w, tile.k, tile.m, None, strided, backend)


def _strided_rows(w: Tensor, k: int) -> Tensor:
    count = (w.shape[0] + k - 1) // k
    padded = torch.nn.functional.pad(w, (0, 0, 0, count * k - w.shape[0]))
    return padded.reshape(k, count, -1).transpose(0, 1).reshape(count * k, -1)


def stl_matmul(
    x: Tensor,
    w: Tensor,
    encoders: Encoders,
    bias: Tensor | None = None,
    *,
    options: LayerOptions | None = None,
    **changes: Any,
) -> Tensor:
    """x @ w + bias through a bilinear algorithm; differentiable in x, w and bias.

    Args:
        x: (..., K). The rows of all leading axes, in order, are grouped n to a tile, whatever the options
            say: rows of a tile influence each other (see `STLLinear` for groupings that keep sequences
            causal).
        w: (K, M).
        encoders: the algorithm, or where it is stored.
        bias: (M,).
        options: tiling, permutation, kernels.
        changes: fields of `LayerOptions` by keyword, on top of `options`.

    Returns:
        (..., M), in x's dtype.

    Raises:
        InvalidInput: shapes, dtypes or devices that do not fit together.
        Unavailable: the backend cannot run here, or has no fused decode and `fused` asks for it.
    """
    chosen = LayerOptions.of(options, changes)
    algorithm = as_algorithm(encoders, x.dtype)
    checks.check_together(x=x, w=w, bias=bias)
    checks.check_matrix("w", w)
    if x.dim() < 1 or x.shape[-1] != w.shape[0]:
        raise InvalidInput("x", expected=f"shape (..., {w.shape[0]})", got=f"shape {tuple(x.shape)}")
    t = algorithm.tile
    encode_x, encode_w, decode = (
        torch.tensor(factor, dtype=x.dtype, device=x.device)
        for factor in (algorithm.encode_x, algorithm.encode_w, algorithm.decode)
    )
    order = None if chosen.permutation is None else torch.tensor(chosen.permutation, device=x.device)
    encoded_w = encode_weights(
        w, encode_w, t, permutation=order, tiling=chosen.tiling, backend=chosen.backend
    )
    y = transforms.linear(
        *(x.reshape(-1, x.shape[-1]), encode_x, encoded_w, decode, bias, w.shape[1]),
        *(t.n, t.k, t.m, order, chosen.strided, chosen.fused, chosen.backend),
    )
    return y.reshape(*x.shape[:-1], w.shape[1])
