"""transformers reads and writes converted models once `stl_models` is imported.

The quantizer of method "stl" replaces the dense layers of the skeleton by empty composites before weights are
loaded, and leaves the rest to transformers. It is registered when transformers' registry is first imported,
so that importing `stl_models` costs nothing where transformers is not used, and needs nothing where it is not
installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from stl_algebra.errors import InvalidInput, Unavailable
from stl_models.storage.saving import prepare, quantization_config
from stl_models.storage.shards import METHOD

_REGISTRY = "transformers.quantizers.auto"


def register_when_imported() -> None:
    """Register now where transformers' registry is loaded, else as soon as it is."""
    if _REGISTRY in sys.modules:
        _register(sys.modules[_REGISTRY])
    elif not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the registry as everybody else does, and registers once it has been executed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != _REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            _register(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _register(registry: Any) -> None:
    if METHOD in registry.AUTO_QUANTIZER_MAPPING:
        return
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    @registry.register_quantization_config(METHOD)
    class StlConfig(QuantizationConfigMixin):
        """The layers and algorithms of a converted model."""

        def __init__(self, **values: Any) -> None:
            for name, value in values.items():
                setattr(self, name, value)
            self.quant_method = METHOD  # type: ignore[assignment]

    @registry.register_quantizer(METHOD)
    class StlQuantizer(HfQuantizer):
        """Puts empty composites where the dense layers were."""

        requires_calibration = True

        def _process_model_before_weight_loading(self, model: nn.Module, **_: Any) -> nn.Module:
            config: Any = self.quantization_config
            layers = config.layers
            names = {n for n, _ in model.named_modules()}
            prefix = f"{getattr(model, 'base_model_prefix', '')}."
            # A base model loaded from the folder of a model with a head has shorter names, and the reverse.
            own = prefix if layers and next(iter(layers)) not in names else ""
            prepare(model, config.to_dict(), own)
            first = next(iter(layers), "").removeprefix(own)
            ignored = set(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())
            known: Any = model
            known._keys_to_ignore_on_load_unexpected = ignored | {rf"{first}\.weight$"}
            return model

        def is_serializable(self, **_: Any) -> bool:
            return True

        @property
        def is_trainable(self) -> bool:
            return True


def attach(model: nn.Module) -> None:
    """Make `save_pretrained` of a converted transformers model write what `from_pretrained` reads."""
    registry = sys.modules.get(_REGISTRY)
    config = getattr(model, "config", None)
    if registry is None or not hasattr(model, "save_pretrained") or config is None:
        return
    register_when_imported()
    made = registry.AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD](**quantization_config(model))
    config.quantization_config = made
    model.hf_quantizer = registry.AUTO_QUANTIZER_MAPPING[METHOD](made)
    model.is_quantized = True  # type: ignore[assignment]


def load_with_transformers(folder: str | Path, config: dict[str, Any]) -> nn.Module:
    """The model of a folder in the class that it was saved from.

    Raises:
        Unavailable: transformers is not installed.
        InvalidInput: config.json names no architecture.
    """
    try:
        import transformers
    except ImportError as error:
        raise Unavailable(
            "loading without a model needs transformers: pip install 'stl-algebra[models]', or pass the "
            "dense architecture"
        ) from error
    register_when_imported()
    name = next(iter(config.get("architectures") or []), "")
    kind = getattr(transformers, name, None)
    if kind is None:
        raise InvalidInput(
            "folder", expected="an architecture in config.json", got=name or "none",
            hint="pass the dense architecture",
        )  # fmt: skip
    model: nn.Module = kind.from_pretrained(folder, local_files_only=True, dtype="auto")
    return model.eval()
