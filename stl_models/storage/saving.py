"""A converted model in a folder: config.json, plan.json, safetensors shards by blocks; nothing pickled.

Shards are written as blocks are finished, each through a temporary file and a rename, and config.json comes
last: a folder with config.json is complete, one without is a conversion that goes on where it stopped. The
layers' structure stands in config.json under quantization_config, the algorithms' factors included, so that a
folder needs no other file.

What does not belong here: transformers' own loading (`transformers`), converting.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.encoders_file import decode_algorithm, encode_algorithm
from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_kernels.layers.factors import algorithm_of
from stl_kernels.layers.linear import STLLinear
from stl_models.composites.building import Builder, describe
from stl_models.composites.composite import Composite
from stl_models.planning.allocate import Allocation, Decision
from stl_models.repair import BlockOutcome
from stl_models.storage.shards import INDEX, METHOD, PROGRESS, contents, read_tensors, shard_of
from stl_models.structure.modules import replace_module
from stl_models.structure.residence import Lazy, residence_of

#: Version of the folder; a newer one is refused.
FOLDER_VERSION = 1
_SENSITIVITY = "progress.safetensors"
#: For what waits beside a block while a conversion runs.
SCRATCH = ".stl-scratch"


def quantization_config(model: nn.Module) -> dict[str, Any]:
    """What config.json says of the converted layers: their structure and the algorithms they run."""
    layers, algorithms = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, Composite):
            layers[name] = describe(module)
        if isinstance(module, STLLinear):
            # encode_w is used up when weights are encoded; a placeholder of the right shape stands in.
            tile = module.tile
            placeholder = torch.zeros(module.rank, tile.k * tile.m)
            key = f"{tile.slug}-r{module.rank}"
            if key not in algorithms:
                algorithms[key] = encode_algorithm(algorithm_of(module, placeholder))
    return {
        "quant_method": METHOD, "version": FOLDER_VERSION, "stl_algebra": __version__,
        "layers": layers, "algorithms": algorithms,
    }  # fmt: skip


def prepare(model: nn.Module, config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Replace the dense layers of a skeleton by empty composites, as `quantization_config` says.

    Args:
        model: dense, of the converted model's architecture; best on the meta device.
        config: from config.json.
        prefix: what the names in `config` have before the names in `model`.

    Returns:
        The names of the replaced layers.

    Raises:
        InvalidInput: made by a newer version, or the model has no such layer.
    """
    if int(config.get("version", 0)) > FOLDER_VERSION:
        raise InvalidInput(
            "folder", expected=f"version {FOLDER_VERSION} or older", got=f"version {config['version']}",
            hint="upgrade stl-algebra to read it",
        )  # fmt: skip
    algorithms = {
        (data["tile"], int(key.rpartition("-r")[2])): decode_algorithm(data)
        for key, data in config["algorithms"].items()
    }
    builders: dict[torch.dtype, Builder] = {}
    modules = dict(model.named_modules())
    replaced = []
    # Owners of shared parts before those that borrow them: JSON may come back in another order.
    ordered = sorted(config["layers"].items(), key=lambda item: '"borrowed"' in json.dumps(item[1]))
    for full_name, description in ordered:
        name = full_name.removeprefix(prefix)
        old = modules.get(name)
        if old is None:
            raise InvalidInput(
                "model", expected=f"a layer {name}", got="a model without it",
                hint="load the folder into the architecture that was converted",
            )  # fmt: skip
        like = next(old.parameters())
        builder = builders.setdefault(like.dtype, Builder(algorithms, like.dtype, like.device))
        replace_module(model, name, builder.build(description))
        replaced.append(name)
    return replaced


def tensors_of(module: nn.Module, prefix: str = "") -> dict[str, Lazy]:
    """The state dict, tied tensors once; numbers that are not in memory are read when they are written."""
    found: dict[str, Lazy] = {}
    seen: set[tuple[int, tuple[int, ...]]] = set()
    home = residence_of(module)
    for name, tensor in module.state_dict(prefix=prefix, keep_vars=True).items():
        key = (id(tensor) if tensor.is_meta else tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        if tensor.is_meta and home is not None and name in home.tensors:
            found[name] = home.tensors[name]
        else:
            found[name] = Lazy.of(tensor.detach())
    return found


class Folder:
    """A folder that a conversion writes to, block by block, and goes on from.

    Args:
        folder: made where it does not exist.
        identity: what must be the same for finished blocks to be used: configuration, model and text.

    Raises:
        Unavailable: it cannot be written.
        InvalidInput: it holds a finished model, or another conversion's blocks.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        if (self.folder / "config.json").exists():
            raise InvalidInput(
                "out", expected="a new folder, or one that a conversion did not finish",
                got=f"{folder}, which holds a model", hint="choose another folder",
            )  # fmt: skip
        text = json.dumps(identity, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.state: dict[str, Any] = {"digest": digest, "blocks": {}, "files": {}, "allocation": None}
        path = self.folder / PROGRESS
        if path.is_file():
            self.state = json.loads(path.read_text("utf-8"))
            if self.state["digest"] != digest:
                raise InvalidInput(
                    "out", expected="a folder of the same conversion",
                    got=f"{folder}, begun with other settings",
                    hint="choose another folder, or delete this one",
                )  # fmt: skip
        # What a process that was killed while it wrote has left.
        for pattern in (".model-*", ".progress.*", ".plan.json.*", ".config.json.*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def decisions(self) -> tuple[Allocation, Mapping[str, Lazy]] | None:
        """The allocation of an earlier run, and its sensitivities."""
        data = self.state["allocation"]
        if data is None:
            return None
        allocation = Allocation(
            tuple(Decision.from_json(d) for d in data["decisions"]), data["dense"], data["multiplier"],
            tuple((a, b) for a, b in data["frontier"]),
        )  # fmt: skip
        return allocation, contents(self.folder / _SENSITIVITY)

    def keep_decisions(self, allocation: Allocation, sensitivities: Mapping[str, Lazy]) -> None:
        """Keep the allocation for later runs, and what fits depend on."""
        write_atomically(self.folder / _SENSITIVITY, shard_of(sensitivities))
        self.state["allocation"] = {
            "decisions": [d.as_json() for d in allocation.decisions],
            "dense": allocation.dense,
            "multiplier": allocation.multiplier,
            "frontier": [list(p) for p in allocation.frontier],
        }
        self._keep()

    def load(self, block: str, module: nn.Module) -> BlockOutcome | None:
        """A finished block, built from its shard into a copy of the dense one."""
        kept = self.state["blocks"].get(block)
        if kept is None:
            return None
        made = copy.deepcopy(module)
        prefix = f"{block}." if block else ""
        prepare(made, kept["quantization"], prefix)
        tensors = read_tensors(self.folder / kept["file"])
        fill(made, {n.removeprefix(prefix): t for n, t in tensors.items()})
        known = (kept["repaired"], kept["errors"], kept["block_errors"], kept.get("seconds", 0.0))
        return BlockOutcome(made, *known)

    def save(self, block: str, outcome: BlockOutcome) -> None:
        """Write a finished block's shard."""
        prefix = f"{block}." if block else ""
        number = len(self.state["blocks"])
        name = f"model-block-{number:05d}.safetensors"
        tensors = tensors_of(outcome.module, prefix)
        write_atomically(self.folder / name, shard_of(tensors))
        described = quantization_config(outcome.module)
        described["layers"] = {prefix + n: d for n, d in described["layers"].items()}
        self.state["files"] |= dict.fromkeys(tensors, name)
        self.state["blocks"][block] = {
            "file": name, "quantization": described, "repaired": outcome.repaired,
            "errors": outcome.errors, "block_errors": outcome.block_errors, "seconds": outcome.seconds,
        }  # fmt: skip
        self._keep()

    def finish(
        self, model: nn.Module, report: Mapping[str, Any], config: Mapping[str, Any], trained: bool = False
    ) -> Path:
        """Write what lies outside the blocks, the plan, and config.json last.

        Args:
            model: converted.
            report: for plan.json.
            config: of the model, for config.json.
            trained: the blocks changed since they were kept: all is written anew.
        """
        described = quantization_config(model)
        kept = {} if trained else self.state["files"]
        rest = {n: t for n, t in tensors_of(model).items() if n not in kept}
        first = next(iter(described["layers"]), None)
        if first is not None:
            rest[f"{first}.weight"] = Lazy.of(torch.zeros(0))
        name = "model-rest.safetensors"
        write_atomically(self.folder / name, shard_of(rest))
        files = {**kept, **dict.fromkeys(rest, name)}
        size = sum((self.folder / f).stat().st_size for f in set(files.values()))
        index = {"metadata": {"total_size": size}, "weight_map": files}
        write_atomically(self.folder / INDEX, json.dumps(index, indent=1))
        write_atomically(self.folder / "plan.json", json.dumps(report, indent=1))
        whole = {**config, "quantization_config": described}
        path = write_atomically(self.folder / "config.json", json.dumps(whole, indent=1))
        stale = {block["file"] for block in self.state["blocks"].values()} - set(files.values())
        for name in (PROGRESS, _SENSITIVITY, *sorted(stale)):
            (self.folder / name).unlink(missing_ok=True)
        return path

    def _keep(self) -> None:
        write_atomically(self.folder / PROGRESS, json.dumps(self.state))


def save(model: nn.Module, folder: str | Path, report: Mapping[str, Any] | None = None) -> Path:
    """Write a converted model to a folder that `load` and transformers read; returns the folder.

    Raises:
        InvalidInput: the folder holds a model.
        Unavailable: it cannot be written.
    """
    target = Folder(folder, {"saved": True})
    target.finish(model, report or {}, model_config(model))
    return Path(folder)


def model_config(model: nn.Module) -> dict[str, Any]:
    """The model's own configuration as JSON, where it has one."""
    own: Any = getattr(model, "config", None)
    data = own.to_dict() if hasattr(own, "to_dict") else {}
    data.pop("quantization_config", None)
    if data and not data.get("architectures"):
        data["architectures"] = [type(model).__name__]
    if data:
        data["dtype"] = str(next(p for p in model.parameters() if p.is_floating_point()).dtype).removeprefix(
            "torch."
        )
    return json.loads(json.dumps(data, default=str))  # type: ignore[no-any-return]


@torch.no_grad()
def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in their places, whatever device the places are on; tied places may be missing.

    Raises:
        InvalidInput: a tensor has no place, another shape, or a place of a composite has no tensor.
    """
    places = model.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        if name not in places or places[name].shape != tensor.shape:
            got = f"shape {tuple(places[name].shape)}" if name in places else "no such parameter"
            raise InvalidInput(f"model.{name}", expected=f"shape {tuple(tensor.shape)}", got=got)
    for name, module in model.named_modules():
        if isinstance(module, Composite):
            missing = [k for k in module.state_dict() if f"{name}.{k}" not in tensors and k not in tensors]
            if missing:
                raise InvalidInput(
                    f"folder, layer {name}", expected="all its tensors", got=f"no {missing[0]}"
                )
    model.load_state_dict(dict(tensors), strict=False, assign=any(p.is_meta for p in places.values()))
