"""Safetensors shards and config.json of folders: read tensor by tensor, written one tensor after the other.

The format is a length, a JSON table of contents and the bytes of the tensors. It is read without mapping the
file, so that what is in memory is what was asked for.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_models.statistics.keeping import bytes_of
from stl_models.structure.residence import Lazy

METHOD = "stl"
INDEX = "model.safetensors.index.json"
#: Only while a conversion is not finished.
PROGRESS = "progress.json"

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def is_converted(folder: str | Path) -> bool:
    """Whether config.json says that a folder's model is a converted one."""
    try:
        data = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        return bool((data.get("quantization_config") or {}).get("quant_method") == METHOD)
    except (OSError, ValueError, AttributeError):
        return False


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a converted model.

    Raises:
        InvalidInput: there is none, or it is not of a converted model.
    """
    path = Path(folder) / "config.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        unfinished = (Path(folder) / PROGRESS).is_file()
        raise InvalidInput(
            "folder", expected="a folder with config.json", got=str(folder),
            hint="its conversion has not finished: run the same command again" if unfinished else "",
        ) from error  # fmt: skip
    if data.get("quantization_config", {}).get("quant_method") != METHOD:
        raise InvalidInput("folder", expected="a converted model", got=f"{folder}, which is not converted")
    return data


def read_folder(folder: str | Path) -> dict[str, Tensor]:
    """All tensors of a folder, without the guard.

    Raises:
        InvalidInput: a shard is missing or damaged.
    """
    folder = Path(folder)
    if (folder / INDEX).is_file():
        names = indexed(folder / INDEX)
    else:
        names = [p.name for p in sorted(folder.glob("*.safetensors"))]
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(folder / name)
    return {n: t for n, t in tensors.items() if t.numel()}


def indexed(index: Path) -> list[str]:
    """The shards that an index names, sorted; they lie beside it.

    Raises:
        InvalidInput: the index is damaged, or names a file in another folder.
    """
    try:
        names = sorted({str(name) for name in json.loads(index.read_text("utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"index {index.name}",
            expected="JSON with a weight_map",
            got=f"{type(error).__name__}: {error}",
        ) from error
    for name in names:
        if name != Path(name).name or name in ("", ".", ".."):
            raise InvalidInput(f"index {index.name}", expected="names of files beside it", got=repr(name))
    return names


def read_tensors(path: Path) -> dict[str, Tensor]:
    """One shard, all of it.

    Raises:
        InvalidInput: it is missing or damaged.
    """
    return {name: tensor.read() for name, tensor in contents(path).items()}


def contents(path: Path) -> dict[str, Lazy]:
    """The tensors of a shard, each read when it is asked for.

    Raises:
        InvalidInput: it is missing or damaged; also when a tensor is read.
    """
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = os.fstat(stream.fileno()).st_size
            if length > size - 8:
                raise ValueError("a table of contents that is cut off")
            table = json.loads(stream.read(length))
        found = {}
        for name, entry in table.items():
            if name == "__metadata__":
                continue
            dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
            begin, end = entry["data_offsets"]
            wrong = end - begin != math.prod(shape) * dtype.itemsize or 8 + length + end > size
            if wrong or begin < 0 or min(shape, default=0) < 0:
                raise ValueError(f"{name} is cut off")
            found[name] = Lazy(shape, dtype, partial(_read, path, 8 + length + begin, shape, dtype))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    return found


def _read(path: Path, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = torch.empty(shape, dtype=dtype)
    try:
        with open(path, "rb") as stream:
            stream.seek(offset)
            room = bytes_of(values)
            if stream.readinto(room) != len(room):
                raise ValueError("a tensor that is cut off")
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return values


def _damaged(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"shard {path.name}",
        expected="a readable safetensors file",
        got=f"{type(error).__name__}: {error}",
    )


def shard_of(tensors: Mapping[str, Lazy]) -> Iterator[bytes | memoryview]:
    """A shard in parts, one tensor in memory at a time."""
    # Wide numbers first, so that all are aligned.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in order:
        tensor = tensors[name]
        end = place + math.prod(tensor.shape) * tensor.dtype.itemsize
        table[name] = {
            "dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]
        }  # fmt: skip
        place = end
    head = json.dumps(table).encode("utf-8")
    head += b" " * (-len(head) % 8)
    yield len(head).to_bytes(8, "little") + head
    for name in order:
        yield bytes_of(tensors[name].read())
