"""Strassen-Tile layers in the place of a fresh model's linear layers, for training from nothing.

What does not belong here: converting a trained model (`stl_models.convert`), the optimiser (`parameters`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.published import published
from stl_kernels import LayerOptions, STLFactors, STLLinear
from stl_kernels.layers.dense import read_dense
from stl_kernels.layers.effective import map_metric
from stl_kernels.layers.functional import Encoders, as_algorithm
from stl_models.structure.modules import find_structure, replace_module

INITIALISATIONS = ("encode", "scaled", "draw")
FACTORS = ("frozen", "layer", "shared")
GRADIENTS = ("encoded", "weight")
#: The buffer with encode_w (r, k*m) of a layer whose gradient is taken along the weights.
ALONG = "gradient_along"


@dataclass(frozen=True)
class TrainingOptions:
    """How fresh layers start and what of them is trained.

    Attributes:
        initialisation: "encode" encodes the dense weights that the model has drawn; "scaled" does and then
            scales them so that outputs for white inputs have the dense layer's variance, of which approximate
            encoders lose a share (their NMSE); "draw" draws Gaussian encoded weights to that variance, every
            product taking the same part in it.
        factors: "frozen", or trained: every layer its own ("layer"), or one pair for all ("shared").
        gradient: "encoded" trains the encoded weights freely; "weight" multiplies their gradient with
            C C^T, C = encode_w, so that a step of SGD moves them as if the dense weights that they encode
            had moved: fewer directions, and the dense layer's steps where the encoders are exact. A deep copy
            of the model loses it.
        skip: shell patterns of layers to leave dense.
        layer: options of the layers; the grouping of rows is the one to think about: "sequence" keeps
            what an image's tokens do within the image, "batch" keeps a causal model causal.

    Raises:
        InvalidInput: a value is none of these.
    """

    initialisation: str = "encode"
    factors: str = "frozen"
    gradient: str = "encoded"
    skip: tuple[str, ...] = ()
    layer: LayerOptions = field(default_factory=LayerOptions)

    def __post_init__(self) -> None:
        for name, valid in (
            ("initialisation", INITIALISATIONS),
            ("factors", FACTORS),
            ("gradient", GRADIENTS),
        ):
            if getattr(self, name) not in valid:
                raise InvalidInput(name, expected=f"one of {', '.join(valid)}", got=repr(getattr(self, name)))


def replace_linears_(
    model: nn.Module, encoders: Encoders | float, options: TrainingOptions | None = None, **changes: Any
) -> dict[str, STLLinear]:
    """Put STL layers in the place of a model's linear layers, before it is trained.

    Args:
        model: changed in place; layers whose weights are tied to another module's stay.
        encoders: as for `STLLinear`, or a number: the core ratio wanted, met by the published white <4,4,4>
            encoders of the highest rank that reach it. Those of a sorted profile are taken as they are: a
            fresh model's features have no variances to sort by.
        options: where the layers start, what is trained.
        changes: fields of `TrainingOptions` by keyword, on top of `options`.

    Returns:
        Name to layer, in the order of the model.

    Raises:
        InvalidInput: nothing to replace, a layer that cannot be, or encoders that do not exist.
    """
    chosen = replace(options or TrainingOptions(), **changes)
    structure = find_structure(model, chosen.skip, everything=True)
    if structure.problems:
        name, why = next(iter(structure.problems.items()))
        raise InvalidInput("model", expected="linear layers that can be replaced", got=f"{name}: {why}")
    if not structure.linears:
        raise InvalidInput("model", expected="linear layers", got="none that are not skipped or tied")
    first = model.get_submodule(next(iter(structure.linears))).weight
    assert isinstance(first, Tensor)
    named = _of_ratio(encoders) if isinstance(encoders, (int, float)) else encoders
    algorithm = as_algorithm(named, first.dtype)
    shared = None
    if chosen.factors == "shared":
        shared = STLFactors(algorithm, trainable=True, device=first.device, dtype=first.dtype)
    layers = {}
    for name in structure.linears:
        layer = _fresh(model.get_submodule(name), algorithm, chosen, shared)
        replace_module(model, name, layer)
        layers[name] = layer
    return layers


def random_encoders(tile: str | TileFormat, rank: int, seed: int = 0) -> BilinearAlgorithm:
    """The control: Gaussian encoders with their best decoder.

    Raises:
        InvalidInput: no such tile format or rank.
    """
    # Families bring the groups along, which nothing else here needs.
    from stl_algebra.families.registry import Request
    from stl_algebra.families.ungrouped import random

    return random(Request(tile, rank, seed=seed))


def _of_ratio(ratio: float) -> str:
    ranks = [rank for tile, rank in published() if tile.slug == "4x4x4"]
    fit = [rank for rank in ranks if 64 / rank >= ratio - 1e-9]
    if not fit:
        raise InvalidInput("encoders", expected=f"a core ratio up to {64 / min(ranks):g}", got=ratio)
    return f"4x4x4-r{max(fit)}"


@torch.no_grad()
def _fresh(
    dense: nn.Module, algorithm: BilinearAlgorithm, options: TrainingOptions, shared: STLFactors | None
) -> STLLinear:
    plain = replace(options.layer, trainable_factors=options.factors == "layer")
    read = read_dense(dense)
    columns, inner = read.weight.shape
    layer = STLLinear(
        *(inner, columns, algorithm, read.bias is not None),
        options=plain, factors=shared, device=read.weight.device, dtype=read.weight.dtype,
    )  # fmt: skip
    layer.set_weight(read.weight, algorithm)
    if layer.bias is not None and read.bias is not None:
        layer.bias.copy_(read.bias)
    if options.initialisation == "draw":
        draw_encoded_(layer, float(read.weight.square().mean()) * inner)
    elif options.initialisation == "scaled":
        metric = map_metric(layer.factors).double()
        z = layer.encoded_w.double().flatten(1)
        power = float(((metric @ z) * z).sum())
        if power > 0:
            layer.encoded_w.mul_(float(read.weight.double().square().sum() / power) ** 0.5)
    layer.train(dense.training)
    if options.gradient == "weight":
        # A buffer, since it has to move with the layer; MapDecay reads it too.
        layer.register_buffer(ALONG, torch.tensor(algorithm.encode_w).to(layer.encoded_w), persistent=False)
        hook: Any = layer.encoded_w.register_hook
        hook(lambda grad: along_weights(grad, layer.get_buffer(ALONG)))
    return layer


@torch.no_grad()
def draw_encoded_(layer: STLLinear, variance: float) -> None:
    """Draw encoded weights so that an output entry has this variance for white inputs of variance 1.

    For independent z of variance s_rho^2, entry y of an output tile has variance
    L sum_rho decode[y, rho]^2 |encode_x[rho]|^2 s_rho^2; s_rho is chosen so that all r products add alike to
    the mean over the tile: s_rho^2 = variance n m / (L r |decode[:, rho]|^2 |encode_x[rho]|^2).
    """
    encode_x, decode = layer.factors()
    power = encode_x.double().square().sum(1) * decode.double().square().sum(0)
    if not bool((power > 0).all()):
        raise InvalidInput("encoders", expected="no product without effect", got="a factor of zero")
    inner = layer.encoded_w.shape[1]
    deviation = (variance * layer.tile.y_size / (inner * layer.rank * power)).sqrt()
    layer.encoded_w.normal_().mul_(deviation.to(layer.encoded_w)[:, None, None])


def along_weights(gradient: Tensor, encode_w: Tensor) -> Tensor:
    """C C^T g for a gradient g (r, L, J) of encoded weights and C = encode_w (r, k*m)."""
    return torch.einsum("ra,sa,slj->rlj", encode_w, encode_w, gradient)
