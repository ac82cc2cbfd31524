"""What the optimiser gets: groups with their own learning rate and decay, and decay of the effective map.

Encoded weights have no natural length: the same map may be encoded by longer or shorter ones in other bases
of the same algorithm. Decay on them is therefore one of two things, and which one is said: on the encoded
weights as they are, or on the map that they amount to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_kernels import STLFactors, STLLinear
from stl_kernels.layers.effective import map_metric
from stl_models.training.replacing import ALONG, along_weights

DECAYS = ("encoded", "map")


@dataclass(frozen=True)
class Rates:
    """Learning rates and weight decay.

    Attributes:
        lr: of dense weights, biases and norms.
        encoded_lr: of encoded weights; None for `lr` times `step_scale` of the layer's factors, with which
            steps of Adam move the layers' maps about as far as they move dense weights.
        factor_lr: of trained factors, None for `lr`.
        weight_decay: of dense matrices and of encoded weights; biases and norms have none.
        factor_decay: of trained factors.
        decay: what weight decay means for encoded weights: "encoded", z <- (1 - lr decay) z, which shrinks
            the map, linear in z, by the same factor as it shrinks dense weights; or "map",
            z <- z - encoded_lr decay G z, the gradient of |effective map|^2 / 2n (`map_metric`), which
            shrinks directions of z that the map feels most by up to 27 times as much. Both are decoupled
            from the gradient, as in AdamW.

    Raises:
        InvalidInput: a negative rate, or no such decay.
    """

    lr: float = 1e-3
    encoded_lr: float | None = None
    factor_lr: float | None = None
    weight_decay: float = 0.05
    factor_decay: float = 0.0
    decay: str = "encoded"

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise InvalidInput("decay", expected=f"one of {', '.join(DECAYS)}", got=repr(self.decay))
        for name in ("lr", "encoded_lr", "factor_lr", "weight_decay", "factor_decay"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InvalidInput(name, expected="a number of at least 0", got=value)


def parameter_groups(model: nn.Module, rates: Rates) -> list[dict[str, Any]]:
    """Groups for a torch optimiser, each with a `name`; every trained parameter is in one of them.

    "encoded" (one for every rate), "factors", "weights" (two axes or more) and "others"; empty ones are left
    out. With decay of the map the encoded groups' own decay is zero: `MapDecay` does it.
    """
    kinds: dict[int, str] = {}
    encoded: dict[float, list[nn.Parameter]] = {}
    for module in model.modules():
        if isinstance(module, STLLinear) and module.encoded_w.requires_grad:
            kinds[id(module.encoded_w)] = "encoded"
            own = rates.encoded_lr
            rate = rates.lr * step_scale(module.factors) if own is None else own
            encoded.setdefault(rate, []).append(module.encoded_w)
        elif isinstance(module, STLFactors):
            kinds |= {id(p): "factors" for p in module.parameters()}
    groups: dict[str, list[nn.Parameter]] = {"factors": [], "weights": [], "others": []}
    for p in model.parameters():
        if p.requires_grad and kinds.get(id(p)) != "encoded":
            # A class token (1, 1, width) is a vector.
            otherwise = "weights" if max(p.shape, default=1) < p.numel() else "others"
            groups[kinds.get(id(p), otherwise)].append(p)
    values = {
        "factors": (rates.lr if rates.factor_lr is None else rates.factor_lr, rates.factor_decay),
        "weights": (rates.lr, rates.weight_decay),
        "others": (rates.lr, 0.0),
    }
    tiles = [
        # torch multiplies decay with the group's rate, and z shrinks as dense weights do.
        {"name": "encoded", "params": found, "lr": rate,
         "weight_decay": rates.weight_decay * rates.lr / rate if rates.decay == "encoded" and rate else 0.0}
        for rate, found in encoded.items()
    ]  # fmt: skip
    return tiles + [
        {"name": name, "params": found, "lr": values[name][0], "weight_decay": values[name][1]}
        for name, found in groups.items()
        if found
    ]


@torch.no_grad()
def step_scale(factors: STLFactors) -> float:
    """sqrt(k m / tr G), G = `map_metric`: what makes steps on encoded weights as long as on dense ones.

    Steps of plus or minus lr in every entry, as Adam's at first, move a tile's dense weight by lr sqrt(k m).
    The same on encoded weights moves the map, per row of the tile, by lr sqrt(tr G) in the mean over signs: 7
    times as far for the published encoders of r = 24, whose G has a trace of 750.
    """
    return math.sqrt(factors.tile.w_size / float(map_metric(factors).trace()))


class MapDecay:
    """Decay of the effective maps of a model's STL layers, a step before each of the optimiser's.

    Where gradients are taken along the weights ("weight" in `TrainingOptions`), the decay's is too.

    Args:
        model: whose layers.
        weight_decay: of the map, multiplied with the learning rate of the layer's group.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        self.layers = [m for m in model.modules() if isinstance(m, STLLinear)]
        self.weight_decay = weight_decay

    def attach(self, optimiser: torch.optim.Optimizer) -> Any:
        """Run before every step of the optimiser; returns torch's handle, which removes it again."""
        return optimiser.register_step_pre_hook(lambda given, *_: self._step(given))

    @torch.no_grad()
    def _step(self, optimiser: torch.optim.Optimizer) -> None:
        # Read at every step: loading a state replaces the groups.
        groups = {id(p): group for group in optimiser.param_groups for p in group["params"]}
        for layer in self.layers:
            if id(layer.encoded_w) in groups:
                step = self.gradient(layer)
                rate = groups[id(layer.encoded_w)]["lr"] * self.weight_decay
                layer.encoded_w.sub_(step, alpha=rate)

    def gradient(self, layer: STLLinear) -> Tensor:
        """G z, (r, L, J): the derivative of |effective map|^2 / 2n by the encoded weights, or along them."""
        z = layer.encoded_w.detach()
        found = (map_metric(layer.factors).detach() @ z.flatten(1)).view_as(z)
        encode_w = dict(layer.named_buffers()).get(ALONG)
        return found if encode_w is None else along_weights(found, encode_w)
