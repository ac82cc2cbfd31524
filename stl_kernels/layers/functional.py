"""Functions on tensors and algorithms: encode weights once, multiply through an algorithm.

What does not belong here: parameters and row grouping (`layers.linear`), op schemas (`ops`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import EncodersFile, load_encoders
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_kernels import ops
from stl_kernels.backends import AUTO, check_name
from stl_kernels.contract import checks
from stl_kernels.contract.tiles import TILINGS

Encoders = BilinearAlgorithm | EncodersFile | str | Path


def as_algorithm(encoders: Encoders) -> BilinearAlgorithm:
    """The algorithm of a value, of a loaded encoders file, or of the file at a path.

    Raises:
        InvalidInput: none of these, or the file is unreadable.
    """
    if isinstance(encoders, BilinearAlgorithm):
        return encoders
    if isinstance(encoders, EncodersFile):
        return encoders.algorithm
    if isinstance(encoders, (str, Path)):
        return load_encoders(encoders).algorithm
    raise InvalidInput(
        "encoders",
        expected="a BilinearAlgorithm, a loaded encoders file or a path to one",
        got=type(encoders).__name__,
    )


def check_tiling(tiling: str) -> bool:
    """Whether the tiling is strided.

    Raises:
        InvalidInput: it is neither "consecutive" nor "strided".
    """
    if tiling not in TILINGS:
        raise InvalidInput("tiling", expected=f"one of {', '.join(TILINGS)}", got=repr(tiling))
    return tiling == "strided"


def as_permutation(permutation: object, length: int, device: torch.device | str = "cpu") -> Tensor | None:
    """An int64 permutation of 0..length-1, checked by value; None stays None.

    Raises:
        InvalidInput: some index is missing, doubled or out of range.
    """
    if permutation is None:
        return None
    indices = permutation if isinstance(permutation, Tensor) else torch.as_tensor(permutation, device="cpu")
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InvalidInput("permutation", expected="integers", got=str(indices.dtype))
    indices = indices.to(torch.int64)
    # Where the values are: the device asked for may be meta.
    if indices.shape != (length,) or not torch.equal(
        indices.sort().values, torch.arange(length, device=indices.device)
    ):
        raise InvalidInput(
            "permutation",
            expected=f"each index from 0 to {length - 1} once",
            got=f"shape {tuple(indices.shape)} with other values" if indices.numel() else "nothing",
        )
    return indices.to(device)


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
    out: Tensor = ops.encode(w, encode_w, tile.k, tile.m, None, strided, backend)
    return out


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
    tiling: str = "consecutive",
    fused: bool | None = None,
    backend: str = AUTO,
) -> Tensor:
    """x @ w + bias through a bilinear algorithm; differentiable in x, w and bias.

    Args:
        x: (..., K). The rows of all leading axes, in order, are grouped n to a tile: rows of a tile influence
            each other (see `STLLinear` for groupings that keep sequences causal).
        w: (K, M).
        encoders: the algorithm, or where it is stored.
        bias: (M,).
        tiling: "consecutive" or "strided" (`stl_kernels.contract.tiles`).
        fused: core and decode in one kernel (True; Triton only), in two (False), or as the backend finds
            faster (None: what `STLLinear.tune` measured, else the roofline rule).
        backend: "auto", "reference", "cpu" or "triton".

    Returns:
        (..., M), in x's dtype.

    Raises:
        InvalidInput: shapes, dtypes or devices that do not fit together.
        Unavailable: the backend cannot run here, or has no fused decode and `fused` asks for it.
    """
    check_name(backend)
    algorithm = as_algorithm(encoders)
    checks.check_together(x=x, w=w, bias=bias)
    checks.check_matrix("w", w)
    if x.dim() < 1 or x.shape[-1] != w.shape[0]:
        raise InvalidInput("x", expected=f"shape (..., {w.shape[0]})", got=f"shape {tuple(x.shape)}")
    t = algorithm.tile
    encode_x, encode_w, decode = (
        torch.tensor(factor, dtype=x.dtype, device=x.device)
        for factor in (algorithm.encode_x, algorithm.encode_w, algorithm.decode)
    )
    encoded_w = encode_weights(w, encode_w, t, tiling=tiling, backend=backend)
    y: Tensor = ops.linear(
        *(x.reshape(-1, x.shape[-1]), encode_x, encoded_w, decode, bias, w.shape[1]),
        *(t.n, t.k, t.m, None, check_tiling(tiling), fused, backend),
    )
    return y.reshape(*x.shape[:-1], w.shape[1])
