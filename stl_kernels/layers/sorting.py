"""A layer's features laid out by their moments, its mean in the bias: for encoders of a sorted profile.

Order, axes of a tile and the mean are all that comes from the data: features are sorted by variance and dealt
out, one of each k-th part to a tile, with partners that vary together where covariances are known
(`stl_algebra.algorithms.feature_layout`; docs/theory.md, section 15). What does not belong here: fitting
encoded weights to activations (`calibration`), encoders (`stl_algebra.published`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.feature_layout import FeatureLayout, feature_layout
from stl_algebra.algorithms.profile import Profile, profile_of
from stl_algebra.algorithms.scores import inner_losses, nmse
from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.moments import Moments
from stl_kernels.contract.tiles import tiled_columns
from stl_kernels.layers.dense import Dense
from stl_kernels.layers.effective import Layer
from stl_kernels.layers.options import LayerOptions

#: `Moments`, or (mean (K,), covariance (K, K) or variances (K,)).
Calibration = Moments | tuple[Any, Any]

#: A profile is far from the encoders' where their NMSE on it is above that on their own by more than this
#: factor and by more than `_NEGLIGIBLE`.
_FAR = 2.0
_NEGLIGIBLE = 0.01


class FarFromProfile(UserWarning):
    """A layer's features are spread differently from what its encoders were fitted to."""


@dataclass(frozen=True, eq=False)
class InputMoments:
    """What is used of a calibration.

    Attributes:
        mean: (K,) float64.
        second: variances (K,) or covariance (K, K), float64.
    """

    mean: NDArray[np.float64]
    second: NDArray[np.float64]

    @classmethod
    def of(cls, calibration: Calibration, features: int) -> InputMoments:
        """Read and check.

        Raises:
            InvalidInput: neither moments nor (mean, covariance or variances), sizes other than `features`,
                NaN, an infinity or a negative variance.
        """
        if isinstance(calibration, Moments):
            mean, second = calibration.mean, calibration.covariance
        else:
            mean, second = _pair(calibration)
        if mean.shape != (features,) or second.shape not in ((features,), (features, features)):
            raise InvalidInput(
                "calibration",
                expected=f"mean ({features},) and covariance ({features}, {features}) or variances",
                got=f"shapes {mean.shape} and {second.shape}",
            )
        if not (np.isfinite(mean).all() and np.isfinite(second).all()):
            raise InvalidInput("calibration", expected="finite moments", got="NaN or an infinity")
        variances = second if second.ndim == 1 else np.diagonal(second)
        # A second moment less a squared mean may be below zero by rounding.
        if (variances < -1e-6 * max(float(variances.max()), 0.0)).any():
            raise InvalidInput("calibration", expected="variances of at least 0", got=float(variances.min()))
        if (variances < 0).any():
            clipped = np.maximum(variances, 0.0)
            second = clipped if second.ndim == 1 else second - np.diag(variances - clipped)
        return cls(mean, second)


def _pair(calibration: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    try:
        mean, second = (
            np.asarray(v.detach().cpu().double() if isinstance(v, Tensor) else v, np.float64)
            for v in calibration
        )
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            "calibration",
            expected="Moments, or (mean, covariance or variances)",
            got=type(calibration).__name__,
        ) from error
    return mean, second


def laid_out(
    options: LayerOptions, algorithm: BilinearAlgorithm, moments: InputMoments | None, *, turn: bool = True
) -> tuple[LayerOptions, BilinearAlgorithm]:
    """The options with the permutation that deals the features out, and the algorithm along their axes.

    Both as given without calibration. Only encoders that were fitted to a profile are turned: white ones
    have no axes.

    Args:
        options: of the layer; its tiling says which permutation deals.
        algorithm: whose k and profile count.
        moments: of the layer's input, or None without calibration.
        turn: whether the layer may have encoders of its own; not where it shares its factors.

    Raises:
        InvalidInput: encoders of a profile without calibration and without a permutation; a calibration
            beside a permutation, or of K features that k does not divide.

    Warns:
        FarFromProfile: the encoders lose much more on these features than on those they were fitted to.
    """
    fitted = profile_of(algorithm)
    if moments is None:
        if fitted is not None and options.permutation is None:
            raise InvalidInput(
                "calibration",
                expected=f"moments of the layer's input: the encoders are for sorted features ({fitted})",
                got="none",
                hint="give calibration=, or a permutation that deals the features out by variance",
            )
        return options, algorithm
    if options.permutation is not None:
        raise InvalidInput(
            "permutation", expected="none together with calibration, which sorts the features", got="one"
        )
    k, features = algorithm.tile.k, len(moments.mean)
    if features % k:
        raise InvalidInput(
            "calibration", expected=f"a layer whose input features are a multiple of {k}", got=features
        )
    second = moments.second if turn or moments.second.ndim == 1 else np.diag(moments.second)
    layout = feature_layout(second, k, None if fitted is None else inner_losses(algorithm))
    if fitted is not None:
        _compare(algorithm, fitted, layout)
        algorithm = layout.turned(algorithm)
    order = layout.strided if options.strided else layout.consecutive
    return replace(options, permutation=tuple(order.tolist())), algorithm


def _compare(algorithm: BilinearAlgorithm, fitted: Profile, layout: FeatureLayout) -> None:
    """Warn where the layer's profile is far from the encoders'."""
    # A share of nothing would be no profile; a little variance everywhere changes no sum.
    floor = 1e-9 * float(layout.spread.mean()) + 1e-300
    own = Profile(tuple(np.maximum(layout.spread, floor).tolist()))
    here, there = (nmse(algorithm, p.colour(algorithm.tile)) for p in (own, fitted))
    if here > max(_FAR * there, there + _NEGLIGIBLE):
        warnings.warn(
            f"features have the profile {own}, the encoders are for {fitted}: "
            f"NMSE {here:.3g} instead of {there:.3g} for independent features",
            FarFromProfile,
            stacklevel=4,
        )


@torch.no_grad()
def move_mean(layer: Layer, bias: nn.Parameter, dense: Dense, moments: InputMoments) -> None:
    """Set the bias so that rows at the mean give what the dense layer does, on average over a tile's n rows.

    bias = b + mean W - (mean through the tiles): what an approximate algorithm makes of the mean goes away,
    but for its spread over the rows of a tile. A tile that zeros fill up is not at the mean. Costs
    r (K + M) + r K M / (k m) multiplications.

    Args:
        layer: with encoded weights and permutation set.
        bias: of the layer, (M,).
        dense: the layer it stands for.
        moments: of its input.
    """
    device = layer.encoded_w.device
    mean = torch.from_numpy(moments.mean).to(device)
    wanted = dense.weight.to(device, torch.float64) @ mean
    if dense.bias is not None:
        wanted += dense.bias.to(device, torch.float64)
    bias.copy_(wanted - response_to(layer, mean))


@torch.no_grad()
def response_to(layer: Layer, row: Tensor) -> Tensor:
    """What the layer makes of a tile whose n rows all are `row` (K,), without bias: (M,), mean over rows."""
    t, rank = layer.tile, layer.rank
    encode_x, encoded_w, decode = (
        p.double() for p in (layer.factors.encode_x, layer.encoded_w, layer.factors.decode)
    )
    columns = tiled_columns(layer.in_features, t.k, layer.options.strided, row.device)
    row = row.double() if layer.permutation is None else row.double()[layer.permutation]
    padded = torch.nn.functional.pad(row, (0, columns.numel() - layer.in_features))
    encoded = encode_x.view(rank, t.n, t.k).sum(1) @ padded[columns].t()
    products = torch.einsum("rl,rlj->rj", encoded, encoded_w)
    tiles = decode.view(t.n, t.m, rank).mean(0) @ products
    places = tiled_columns(layer.out_features, t.m, layer.options.strided, row.device)
    out = tiles.new_empty(places.numel())
    out[places.reshape(-1)] = tiles.t().reshape(-1)
    return out[: layer.out_features]
