"""A converted model from its folder, with or without transformers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from stl_models.storage.saving import fill, prepare
from stl_models.storage.shards import read_config, read_folder
from stl_models.storage.transformers import load_with_transformers


def load(folder: str | Path, model: nn.Module | None = None) -> nn.Module:
    """A converted model from its folder.

    Args:
        folder: as `save` or the command wrote it.
        model: the dense architecture, filled in place; weights do not matter. None: transformers makes it
            from config.json.

    Raises:
        InvalidInput: no such folder, not one of ours, damaged, or another architecture.
        Unavailable: there is no model and transformers is not installed.
    """
    config = read_config(folder)
    if model is None:
        return load_with_transformers(folder, config)
    prepare(model, config["quantization_config"])
    fill(model, read_folder(folder))
    return model
