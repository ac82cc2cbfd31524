"""Dense transformers models from local folders: as a whole, or a skeleton whose blocks are read as they run.

Nothing is downloaded. A skeleton is made where the checkpoint is safetensors, every parameter has its tensor
there under its own name, and the model is a list of blocks; the reason is said where it is not.

What does not belong here: converted models (`converted`), what a skeleton is used for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput, Unavailable
from stl_models.storage.shards import INDEX, contents, indexed
from stl_models.structure.modules import find_blocks
from stl_models.structure.residence import Lazy, Residence, without_numbers

_FAILURES = (OSError, ValueError, KeyError, RuntimeError)


def read_description(folder: str | Path) -> dict[str, Any]:
    """config.json of a dense model.

    Raises:
        InvalidInput: not a folder of a model, or its model is quantised or converted already.
    """
    folder = Path(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise InvalidInput(
            "model", expected="a local folder with a transformers model", got=f"{folder} without config.json"
        )
    try:
        data: dict[str, Any] = json.loads(config.read_text("utf-8"))
    except ValueError as error:
        raise InvalidInput("model", expected="a config.json in JSON", got=str(error)) from error
    if not isinstance(data, dict):
        raise InvalidInput("model", expected="a config.json that describes a model", got=f"{data!r} in it")
    method = (data.get("quantization_config") or {}).get("quant_method")
    if method is not None:
        words = "converted already" if method == "stl" else f"quantised ({method})"
        raise InvalidInput(
            "model", expected="a dense model in floating point", got=f"{folder}, which is {words}",
            hint="convert the model that it was made from",
        )  # fmt: skip
    return data


def load_dense(folder: str | Path, dtype: str = "auto") -> tuple[Any, Any]:
    """Model and tokenizer of a local folder, in the class that config.json names.

    Raises:
        InvalidInput: not a folder that transformers reads, or its model is quantised or converted already.
        Unavailable: transformers is not installed.
    """
    data = read_description(folder)
    transformers, kind = _class_of(data)
    bars: Any = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    # Loading takes seconds; its bar would stand between our own lines.
    bars.disable_progress_bar()
    try:
        model, info = kind.from_pretrained(
            folder, local_files_only=True, dtype=dtype, output_loading_info=True
        )
    except _FAILURES as error:
        raise _unreadable(folder, error) from error
    finally:
        if shown:
            bars.enable_progress_bar()
    drawn = [
        n for n in sorted(info["missing_keys"]) if any(n.startswith(f"{b}.") for b in find_blocks(model))
    ]
    if drawn:
        # transformers draws what it does not find at random.
        raise InvalidInput(
            "model", expected="a checkpoint with all that config.json promises",
            got=f"{folder} without {drawn[0]}",
        )  # fmt: skip
    return model.eval(), load_tokenizer(folder)


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a local folder.

    Raises:
        InvalidInput: transformers cannot read it.
        Unavailable: transformers is not installed.
    """
    transformers, _ = _class_of({})
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except _FAILURES as error:
        raise _unreadable(folder, error, "a folder with a tokenizer that transformers reads") from error


def open_dense(folder: str | Path, scratch: Path, dtype: str = "") -> tuple[Any, str]:
    """A skeleton of a folder's model whose tensors are read as its blocks run, or None and the reason.

    Args:
        folder: of the model; only read.
        scratch: a folder for what waits beside a block, on a disk and not in memory.
        dtype: torch's name of the dtype that its tensors are read in; "" for the checkpoint's.

    Raises:
        InvalidInput: not a folder that transformers reads, or its model is quantised or converted already.
        Unavailable: transformers is not installed.
    """
    folder, data = Path(folder), read_description(folder)
    stored = checkpoint(folder)
    if not stored:
        return None, "its checkpoint is not in safetensors"
    transformers, kind = _class_of(data)
    before = torch.get_default_dtype()
    try:
        described = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        # The second name is that of older versions.
        wanted = dtype or getattr(described, "dtype", None) or getattr(described, "torch_dtype", None)
        wanted = wanted or next(t.dtype for t in stored.values() if t.dtype.is_floating_point)
        wanted = getattr(torch, wanted) if isinstance(wanted, str) else wanted
        make = getattr(kind, "from_config", kind)
        torch.set_default_dtype(wanted)
        with without_numbers():
            model: Any = make(described)
    except _FAILURES as error:
        raise _unreadable(folder, error) from error
    finally:
        torch.set_default_dtype(before)
    mixed = any(getattr(model, f"_keep_in_fp32_modules{end}", None) for end in ("", "_strict"))
    if mixed and wanted != torch.float32:
        return None, "some of its layers are kept in float32"
    blocks = find_blocks(model)
    if len(blocks) < 2:
        return None, "it has no list of blocks"
    tensors, missing = _matched(model, stored)
    if missing:
        return None, f"its checkpoint has no {missing}"
    Residence(model.eval(), blocks, tensors, scratch)
    return model, ""


def checkpoint(folder: Path) -> dict[str, Lazy]:
    """Every tensor of a folder's safetensors files; empty where there are none.

    Raises:
        InvalidInput: a file is missing or damaged.
    """
    index = folder / INDEX
    names = {"model.safetensors"} if (folder / "model.safetensors").is_file() else set()
    if index.is_file():
        names = set(indexed(index))
    return {name: tensor for file in sorted(names) for name, tensor in contents(folder / file).items()}


@torch.no_grad()
def _matched(model: nn.Module, stored: dict[str, Lazy]) -> tuple[dict[str, Lazy], str]:
    """Full name to tensor for all parameters, buffers filled in; and the first name that has none."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."

    def find(name: str, shape: tuple[int, ...]) -> Lazy | None:
        for other in (name, f"{prefix}{name}", name.removeprefix(prefix)):
            if other in stored and stored[other].shape == shape:
                return stored[other]
        return None

    found: dict[str, Lazy] = {}
    tied: dict[int, Lazy] = {}
    parameters = list(model.named_parameters(remove_duplicate=False))
    for name, p in parameters:
        tensor = find(name, tuple(p.shape))
        if tensor is not None and id(p) not in tied:
            tied[id(p)] = _in_dtype(tensor, p.dtype)
    for name, p in parameters:
        if id(p) not in tied:
            return found, name
        found[name] = tied[id(p)]
    buffers = dict(model.named_buffers())
    for name, buffer in buffers.items():
        if buffer.is_meta:
            return found, name
    for name in model.state_dict(keep_vars=True):
        if name in buffers:
            tensor = find(name, tuple(buffers[name].shape))
            if tensor is None:
                return found, name
            buffers[name].copy_(tensor.read())
    return found, ""


def _in_dtype(tensor: Lazy, dtype: torch.dtype) -> Lazy:
    if tensor.dtype == dtype:
        return tensor

    def read() -> Tensor:
        return tensor.read().to(dtype)

    return Lazy(tensor.shape, dtype, read)


def _class_of(data: dict[str, Any]) -> tuple[Any, Any]:
    """transformers, and the class that a config.json names."""
    try:
        import transformers
    except ImportError as error:
        raise Unavailable(
            "converting a folder needs transformers: pip install 'stl-algebra[models]'"
        ) from error
    name = next(iter(data.get("architectures") or []), "")
    return transformers, getattr(transformers, name, transformers.AutoModel)


def _unreadable(
    folder: str | Path, error: Exception, expected: str = "a folder that transformers reads"
) -> InvalidInput:
    words = " ".join(str(error).split()) or type(error).__name__
    return InvalidInput("model", expected=expected, got=f"{folder}: {words}")
