"""What a model is made of, as far as conversion cares: found from its modules, never from its name.

*Linears* are layers with a two-axis floating weight. *Blocks* are the children of the module lists that hold
most of them. What lies outside the blocks (embeddings, heads, poolers), layers whose weight is tied to
another module's and everything that a pattern skips are left alone, and listed with the reason.

What does not belong here: what a forward pass shows (`tracing`, `probing`).
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stl_kernels.layers.dense import is_dense, sizes_of
from stl_kernels.layers.linear import STLLinear
from stl_models.composites.composite import Composite
from stl_models.structure.residence import resident


@dataclass(frozen=True)
class Structure:
    """Names of modules and their roles.

    Attributes:
        linears: name to (K, M) of what may be converted, in the order of the modules.
        left: name to the reason why a linear layer is left alone.
        problems: name to what has to be mended before anything can be converted.
        blocks: names of the blocks in order; empty where there is no list of blocks.
        others: name of a weight in the blocks that no linear layer holds (experts in one tensor, a
            convolution) to how many numbers it has; it stays as it is.
    """

    linears: dict[str, tuple[int, int]]
    left: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    others: dict[str, int] = field(default_factory=dict)

    def share_of_others(self) -> float:
        """The numbers in `others` as a share of all weights in the blocks that are known here."""
        other = sum(self.others.values())
        return other / max(other + sum(k * m for k, m in self.linears.values()), 1)

    def block_of(self, name: str) -> str:
        """The block that a layer lies in, "" for none."""
        return next((b for b in self.blocks if name.startswith(f"{b}.")), "")


def find_structure(model: nn.Module, skip: tuple[str, ...] = (), *, everything: bool = False) -> Structure:
    """Read the modules; nothing is run.

    Args:
        model: any module.
        skip: shell patterns of names to leave alone.
        everything: convert what lies outside the blocks too, heads included.
    """
    blocks = find_blocks(model)
    uses = Counter(_memory(p) for m in model.modules() for p in m.parameters(recurse=False) if _has_values(p))
    found = _problems(model, blocks, everything)
    linears: dict[str, tuple[int, int]] = {}
    left: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name, module in model.named_modules():
        problem = found.get(name, "")
        inside = not blocks or any(name.startswith(f"{b}.") for b in blocks)
        pattern = next((p for p in skip if fnmatch.fnmatchcase(name, p)), None)
        if not problem and not (is_dense(module) and name):
            continue
        if any(name.startswith(f"{other}.") for other in _converted(model)):
            continue
        if pattern is not None:
            left[name] = f"skipped by {pattern!r}"
        elif not inside and not everything:
            left[name] = "outside the blocks"
        elif problem:
            problems[name] = problem
        elif _tied(module, uses):
            left[name] = "its weight is tied to another module's"
        else:
            linears[name] = sizes_of(module)
    return Structure(linears, left, problems, blocks, _others(model, blocks))


def _others(model: nn.Module, blocks: tuple[str, ...]) -> dict[str, int]:
    """Weights in the blocks that no linear layer holds; embeddings are looked up and cost no product."""
    found: dict[str, int] = {}
    # What a parametrization makes a layer's weight of is below that layer.
    linear: list[str] = []
    for name, module in model.named_modules():
        if is_dense(module) or isinstance(module, (nn.Embedding, STLLinear, Composite)):
            linear.append(f"{name}.")
        elif not any(f"{name}.".startswith(before) for before in linear):
            for key, p in module.named_parameters(name, recurse=False):
                if _has_values(p) and p.dim() > 1:
                    found[key] = p.numel()
    return {n: v for n, v in found.items() if not blocks or any(n.startswith(f"{b}.") for b in blocks)}


def _problems(model: nn.Module, blocks: tuple[str, ...], everything: bool) -> dict[str, str]:
    """Name to problem, every block in memory once where the model is not."""
    units = {name: model.get_submodule(name) for name in blocks}
    inside = {id(m) for block in units.values() for m in block.modules()}
    found: dict[str, str] = {}
    for name, module in model.named_modules():
        if id(module) not in inside:
            # What is left alone need not be read: a head outweighs a block.
            with resident(model, name) if everything or not blocks else nullcontext():
                found[name] = problem_of(module)
        elif name in units:
            with resident(model, name):
                found |= {
                    f"{name}.{part}" if part else name: problem_of(m) for part, m in module.named_modules()
                }
    return {name: problem for name, problem in found.items() if problem}


def problem_of(module: nn.Module) -> str:
    """Why a layer cannot be converted although it looks like one that should be; "" for none."""
    if isinstance(module, (STLLinear, Composite)):
        return "it is converted already: convert the dense model instead"
    weight = getattr(module, "weight", None)
    if isinstance(weight, nn.parameter.UninitializedParameter):
        return "it has no weights yet: run the model once, so that its lazy layers get their sizes"
    packed = isinstance(getattr(module, "qweight", None), Tensor) or hasattr(weight, "quant_state")
    if packed or (isinstance(module, nn.Linear) and isinstance(weight, Tensor) and _integers(weight)):
        return "its weights are quantised: dequantise the model first"
    if is_dense(module) and isinstance(weight, Tensor):
        if weight.is_meta:
            return "its weights are on the meta device: load them first"
        # In parts: the test takes as much memory again as what is tested.
        if not all(bool(torch.isfinite(part).all()) for part in torch.split(weight.detach(), 1024)):
            return "its weights hold NaN or an infinity"
    return ""


def _integers(weight: Tensor) -> bool:
    return not weight.is_floating_point()


def _has_values(p: Tensor) -> bool:
    return not isinstance(p, nn.parameter.UninitializedParameter) and p.numel() > 0


def _memory(p: Tensor) -> int:
    """Equal for tensors that share memory; on the meta device there is none, and the parameter counts."""
    return id(p) if p.is_meta else p.untyped_storage().data_ptr()


def _tied(module: nn.Module, uses: Counter[int]) -> bool:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return _has_values(weight) and uses[_memory(weight)] > 1


def _converted(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if isinstance(m, (STLLinear, Composite))]


def find_blocks(model: nn.Module) -> tuple[str, ...]:
    """Children of the outermost module lists whose members all hold linear layers; of the inner ones of lists
    of lists, which are never called themselves.
    """
    lists: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or any(
            name.startswith(f"{outer}.") for outer in lists
        ):
            continue
        children = list(module.named_children())
        kinds = {type(child) for _, child in children}
        holds = [any(is_dense(m) or problem_of(m) for m in c.modules() if m is not c) for _, c in children]
        # A list of linear layers is one block's own affair; blocks are alike and hold layers.
        if children and len(kinds) == 1 and kinds != {nn.ModuleList} and all(holds):
            lists[name] = [f"{name}.{child}" if name else child for child, _ in children]
    return tuple(block for members in lists.values() for block in members)


def replace_module(model: nn.Module, name: str, other: nn.Module) -> None:
    """Put another module in a layer's place, wherever the layer is registered."""
    old = model.get_submodule(name)
    for parent in list(model.modules()):
        for child_name, child in list(parent._modules.items()):
            if child is old:
                parent._modules[child_name] = other
