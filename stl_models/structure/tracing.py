"""What one forward pass shows: the order of the layers, who shares an input, what ends in a residual stream.

Two layers share an input where they are given the very same tensor. A layer ends in a residual stream where
its output, untouched but for dropout at rest, is one operand of an addition with a tensor of its own shape.

What does not belong here: which layers take part (`structure`), which channel feeds which (`probing`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stl_algebra.errors import InvalidInput, StlError
from stl_kernels.layers.dense import read_dense

#: What a model is called with: a mapping of keywords, one tensor, or a sequence of positional arguments.
Batch = Mapping[str, Any] | Tensor | tuple[Any, ...] | list[Any]

_ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__, Tensor.add_}


class Enough(Exception):
    """Ends a forward pass whose rest is of no interest."""


def run_model(model: nn.Module, batch: Batch) -> Any:
    """Call the model on a batch, without a cache of keys and values where it has the option.

    An encoder-decoder that is given tokens alone reads them and writes them, as in training.
    """
    options: dict[str, Any] = {}
    parameters = inspect.signature(model.forward).parameters
    if "use_cache" in parameters or getattr(getattr(model, "config", None), "use_cache", False) is True:
        options["use_cache"] = False
    if isinstance(batch, Mapping):
        given = {**options, **batch}
        if set(batch) == {"input_ids"}:
            given |= written(model, batch["input_ids"])
        return model(**given)
    if isinstance(batch, Tensor):
        return model(batch, **options)
    return model(*batch, **options)


def written(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """What an encoder-decoder writes while it reads ids (n, length): the same, shifted by its start token.

    Nothing for other models.
    """
    config = getattr(model, "config", None)
    two_sided = getattr(config, "is_encoder_decoder", False)
    if not two_sided or "decoder_input_ids" not in inspect.signature(model.forward).parameters:
        return {}
    starts = (getattr(config, f"{name}_token_id", None) for name in ("decoder_start", "bos", "pad"))
    start = next((s for s in starts if isinstance(s, int)), 0)
    return {"decoder_input_ids": torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1)}


def small(batch: Batch, rows: int = 2, length: int | None = 8) -> Batch:
    """The first rows and tokens of a batch: enough to see what feeds what. None: tokens as they are."""

    def cut(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dim() >= 2:
            part = value[:rows]
            return part[:, :length] if part.dim() == 2 and not part.is_floating_point() else part
        return value[:rows] if isinstance(value, torch.Tensor) else value

    if isinstance(batch, torch.Tensor):
        return cut(batch)  # type: ignore[no-any-return]
    if isinstance(batch, (tuple, list)):
        return tuple(cut(v) for v in batch)
    return {k: cut(v) for k, v in batch.items()}


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Tuples, lists and dictionaries with everything else in them changed."""
    if isinstance(value, dict):
        return {k: mapped(v, change) for k, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(mapped(v, change) for v in value)
    return change(value)


def row_mask(batch: Batch) -> Tensor | None:
    """The mask (B, T) of positions that are not padding, where the batch has one."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if not isinstance(mask, Tensor) or mask.dim() != 2 or bool((mask != 0).all()):
        return None
    return mask != 0


def rows_of(x: Tensor, mask: Tensor | None) -> Tensor:
    """Rows (N, K) of an activation (..., K), those of padding left out."""
    x = x.detach()
    if mask is not None and x.shape[:2] == mask.shape and x.dim() == 3:
        return x[mask.to(x.device)]
    return x.reshape(-1, x.shape[-1])


@dataclass
class Trace:
    """What was seen.

    Attributes:
        calls: how often each layer was called, in the order of the first calls.
        unlike: layers that are no plain product with their weight, to the reason; they are in no other list.
        inputs: layers that were given the same tensor, in the order of the calls.
        residual: layers whose output is added to a tensor of its shape.
        blocks: those that were called, in the model's order.
        chained: whether each block was given the output of the block before it.
    """

    calls: dict[str, int] = field(default_factory=dict)
    unlike: dict[str, str] = field(default_factory=dict)
    inputs: list[tuple[str, ...]] = field(default_factory=list)
    residual: set[str] = field(default_factory=set)
    blocks: tuple[str, ...] = ()
    chained: bool = True


class Additions(TorchFunctionMode):
    """Watches additions: `of(output)` names what was added to a tensor of the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: dict[int, tuple[str, Tensor, int]] = {}
        self._made: dict[int, int] = {}
        self._count = 0
        self.other: dict[str, Tensor] = {}

    def want(self, name: str, output: Tensor) -> None:
        """Look for an addition to this output."""
        # The output is kept, so that no other tensor gets its memory meanwhile.
        self._wanted[output.data_ptr()] = (name, output, self._count)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ADDITIONS and len(args) >= 2:
            for one, two in ((args[0], args[1]), (args[1], args[0])):
                if not (isinstance(one, Tensor) and isinstance(two, Tensor)) or one.shape != two.shape:
                    continue
                name, output, count = self._wanted.get(one.data_ptr(), ("", None, 0))
                # What was made after the output may be made of it, as inside an activation function.
                earlier = self._made.get(two.data_ptr(), 0) <= count
                if output is not None and output.shape == one.shape and earlier and name not in self.other:
                    self.other[name] = two.detach().clone()
        result = func(*args, **(kwargs or {}))
        self._count += 1
        if isinstance(result, Tensor):
            self._made[result.data_ptr()] = self._count
        return result


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    """Remove the hooks at the end, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, without gradients, its modes restored at the end."""
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def trace(model: nn.Module, names: list[str], blocks: tuple[str, ...], batch: Batch) -> Trace:
    """Run the model once and watch.

    Args:
        model: the model.
        names: layers to watch.
        blocks: blocks to watch, in order.
        batch: a small batch.

    Raises:
        InvalidInput: the model cannot be called with the batch.
    """
    seen = Trace()
    groups: dict[int, list[str]] = {}
    alive: list[Tensor] = []
    additions = Additions()
    last: list[Tensor | None] = [None]

    def before(name: str) -> Any:
        def look(_: nn.Module, args: tuple[Any, ...]) -> None:
            seen.calls[name] = seen.calls.get(name, 0) + 1
            if args and seen.calls[name] == 1:
                alive.append(args[0])
                groups.setdefault(id(args[0]), []).append(name)

        return look

    def after(name: str) -> Any:
        def look(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            why = _unlike_product(module, args, output)
            if why:
                seen.unlike[name] = why
            else:
                additions.want(name, output)

        return look

    reached: set[nn.Module] = set()

    def into_block(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        reached.add(block)
        given = first_tensor(args, kwargs)
        if last[0] is not None and given is not last[0]:
            seen.chained = False

    def out_of_block(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        last[0] = output if isinstance(output, Tensor) else output[0]

    handles: list[Any] = []
    for name in names:
        module = model.get_submodule(name)
        handles.append(module.register_forward_pre_hook(before(name)))
        handles.append(module.register_forward_hook(after(name)))
    for block in blocks:
        module = model.get_submodule(block)
        handles.append(module.register_forward_pre_hook(into_block, with_kwargs=True))
        handles.append(module.register_forward_hook(out_of_block))
    with hooked(handles), at_rest(model), additions:
        called(model, batch)
    seen.calls = {name: count for name, count in seen.calls.items() if name not in seen.unlike}
    shared = (tuple(name for name in group if name in seen.calls) for group in groups.values())
    seen.inputs = [group for group in shared if group]
    seen.residual = set(additions.other)
    seen.blocks = tuple(name for name in blocks if model.get_submodule(name) in reached)
    # A list of lists is never called itself: layers that run outside all blocks would be passed over.
    within = tuple(f"{name}." for name in seen.blocks)
    seen.chained = seen.chained and bool(within) and all(name.startswith(within) for name in seen.calls)
    return seen


def _unlike_product(module: nn.Module, args: tuple[Any, ...], output: Any) -> str:
    """Why a layer's answer is not x W^T + b for its one argument x; "" where it is."""
    if len(args) != 1 or not isinstance(args[0], Tensor):
        return "it is not called with one tensor by position"
    dense = read_dense(module)
    expected = F.linear(args[0], dense.weight, dense.bias).float()
    other = not isinstance(output, Tensor) or output.shape != expected.shape
    # Half precision rounds by less than 1 %; what is not finite is another check's affair.
    other = other or bool((output.float() - expected).norm() > 0.05 * expected.norm())
    return "it answers something else than the product with its weight" if other else ""


def first_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The hidden state that a block is given: its first tensor, by position or else by keyword."""
    return next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)


def called(
    model: nn.Module, batch: Batch, hint: str = "stl_models.convert_ takes a model's own batches"
) -> Any:
    """What a model answers to a batch.

    Args:
        model: the model.
        batch: what it is called with.
        hint: what to do where it cannot be.

    Raises:
        InvalidInput: it cannot be called with it; what its own code raised is said.
    """
    try:
        return run_model(model, batch)
    except StlError:
        raise
    except Exception as error:  # whatever a model's own code raises
        first = (str(error) or type(error).__name__).splitlines()[0]
        given = ""
        if isinstance(batch, Mapping):
            sizes = (f"{k} {list(v.shape)}" if isinstance(v, Tensor) else k for k, v in batch.items())
            given = f" on {', '.join(sizes)}"
        raise InvalidInput(
            "calibration", expected=f"batches that {type(model).__name__} can be called with",
            got=f"{type(error).__name__}{given}: {first}",
            hint=hint,
        ) from error  # fmt: skip
