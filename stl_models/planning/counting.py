"""What a converted model's layers multiply, move and hold: counted from the modules themselves."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from stl_kernels.device.peaks import Peaks
from stl_kernels.layers.linear import STLLinear
from stl_models.composites.composite import Composite, Masked, products_of
from stl_models.planning.plan import Plan, product_seconds
from stl_models.recipes import Engine


def count_product(module: nn.Linear | STLLinear) -> tuple[float, float, float]:
    """(core multiplications a row, all multiplications a row, numbers held) of one product."""
    if isinstance(module, STLLinear):
        tile, (rank, tiles_k, tiles_m) = module.tile, module.encoded_w.shape
        core = rank * tiles_k * tiles_m / tile.n
        coding = rank * (tile.k * tiles_k + tile.m * tiles_m)
        return core, core + coding, float(module.encoded_w.numel())
    size = float(module.in_features * module.out_features)
    if isinstance(module, Masked):
        # Two of four: half the weights, and two bits for the place of each.
        return size / 2, size / 2, size / 2 * (1 + 1 / 16)
    return size, size, size


def predicted_seconds(model: nn.Module, plan: Plan, on: tuple[Engine, Peaks]) -> dict[str, float]:
    """Predicted seconds of a plan's layers at its batch and length, dense and as they are now.

    Args:
        model: the converted model.
        plan: names its layers and the batch.
        on: what products run on, and the device's rates.
    """
    modules, now = dict(model.named_modules()), 0.0
    for name in plan.links.order:
        module = modules[name]
        products = products_of(module) if isinstance(module, (Composite, nn.Linear)) else []
        now += sum(product_seconds((p.in_features, p.out_features), plan.config, on) for p in products)
    bare = (replace(on[0], exact=None), on[1])
    dense = sum(product_seconds(plan.structure.linears[n], plan.config, bare) for n in plan.links.order)
    return {"seconds_dense": dense, "seconds": now}


def count_layers(model: nn.Module, plan: Plan) -> dict[str, float]:
    """Sums over the layers of a plan, dense and converted, and the three ratios.

    Args:
        model: the converted model.
        plan: names its layers and their dense sizes.
    """
    dense = core = everything = held = 0.0
    modules = dict(model.named_modules())
    for name in plan.links.order:
        k, m = plan.structure.linears[name]
        dense += k * m
        module = modules[name]
        products = products_of(module) if isinstance(module, (Composite, nn.Linear)) else []
        if not products:
            core, everything, held = core + k * m, everything + k * m, held + k * m
        for product in products:
            one = count_product(product)
            core, everything, held = core + one[0], everything + one[1], held + one[2]
    return {
        "dense": dense, "core": dense / core, "everything": dense / everything, "bytes": dense / held,
        "core_multiplications": core, "all_multiplications": everything, "numbers": held,
    }  # fmt: skip
