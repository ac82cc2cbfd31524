"""LoRA on Strassen-Tile layers, through PEFT's own extension point for custom modules.

    config = LoraConfig(target_modules=["query"], r=8)
    model = get_peft_model(model, with_stl_layers(config))

The low-rank update runs beside the tiles; merging it would need the weights to be encoded again and is
refused. What does not belong here: training (`stl_models.training`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels.layers.linear import STLLinear


@cache
def lora_class() -> Any:
    """PEFT's LoRA layer for an `STLLinear`.

    Raises:
        Unavailable: peft is not installed.
    """
    try:
        from peft.tuners.lora import Linear
    except ImportError as error:
        raise Unavailable("LoRA on STL layers needs peft: pip install 'stl-algebra[training]'") from error

    class STLLora(Linear):
        """The tiles' output plus the update's; see `stl_models.adapters`."""

        def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
            raise InvalidInput(
                "merge",
                expected="an update that stays beside the tiles",
                got="a merge into encoded weights",
                hint="keep the adapter, or merge before the model is converted",
            )

    return STLLora


def with_stl_layers(config: Any) -> Any:
    """The LoRA configuration, told how `STLLinear` layers are adapted; returns it.

    Args:
        config: a `peft.LoraConfig`.

    Raises:
        Unavailable: peft is not installed.
    """
    config._register_custom_module({STLLinear: lora_class()})
    return config
