"""Reading a converted model's folder: config.json and the safetensors shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from stl_algebra.errors import InvalidInput

METHOD = "stl"
INDEX = "model.safetensors.index.json"
#: Only while a conversion is not finished.
PROGRESS = "progress.json"


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
    index = folder / INDEX
    if index.is_file():
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    else:
        names = [p.name for p in sorted(folder.glob("*.safetensors"))]
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(folder / name)
    return {n: t for n, t in tensors.items() if t.numel()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """One shard.

    Raises:
        InvalidInput: it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InvalidInput(
            f"shard {path.name}",
            expected="a readable safetensors file",
            got=f"{type(error).__name__}: {error}",
        ) from error
