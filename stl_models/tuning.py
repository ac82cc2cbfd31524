"""Fine-tuning from folder to folder: the model, the texts, the run and what is kept of it.

What does not belong here: the methods and the steps (`training.language`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from stl_algebra.progress import Progress
from stl_models.composites.composite import Composite
from stl_models.metrics import perplexity, spread
from stl_models.storage.converted import load
from stl_models.storage.dense import load_dense, load_tokenizer
from stl_models.storage.saving import save
from stl_models.storage.shards import is_converted
from stl_models.text import read_text, token_batches
from stl_models.training.language import LanguageRecipe, fine_tune, make_trainable
from stl_models.training.parallel import processes
from stl_models.training.reporting import write_result


@dataclass(frozen=True)
class Texts:
    """What is trained and judged on.

    Attributes:
        train, held_out: UTF-8 files.
        length: tokens a window.
        windows: held-out windows, spread over the text.
    """

    train: Path
    held_out: Path
    length: int = 128
    windows: int = 40


def tune_folder(
    folder: Path,
    texts: Texts,
    out: Path,
    recipe: LanguageRecipe,
    *,
    teacher: Path | None = None,
    device: str = "",
    progress: Progress | None = None,
) -> dict[str, Any] | None:
    """Fine-tune a folder's model; go on where `out` has a checkpoint.

    Args:
        folder: a dense transformers model, or a converted one, whose layers are trained whatever the method.
        texts: to train and to judge on.
        out: log.csv, result.json, curve.png, the checkpoint; model/ for layers that a folder can hold, which
            trained factors cannot be; adapter/ for LoRA.
        recipe: how.
        teacher: the dense model of a converted one, for distillation and to compare with.
        device: "" for cuda where there is one.
        progress: told of every step.

    Returns:
        What `fine_tune` does, and "dense": the dense model's perplexity, None where there is no dense model.
        None in processes that are not the first.

    Raises:
        InvalidInput: model or texts that cannot be used.
        Unavailable: transformers or peft is not installed.
    """
    converted = is_converted(folder)
    if converted:
        recipe = replace(recipe, method="converted")
    original = teacher or (None if converted else folder)
    tokenizer = load_tokenizer(original or folder)
    train, held = (
        [b["input_ids"] for b in token_batches(tokenizer, read_text(path), length=texts.length)]
        for path in (texts.train, texts.held_out)
    )
    windows, held_out = spread(train, sum(len(part) for part in train)), spread(held, texts.windows)
    with processes(device) as (place, first):
        dense = None if original is None else load_dense(original, "float32")[0].to(place)
        reference = None if dense is None else perplexity(dense, held_out.to(place))
        # Of the class, as transformers' own refuses models that say they are quantised.
        loaded = nn.Module.float(load(folder)) if converted else load_dense(folder, "float32")[0]
        model: Any = make_trainable(loaded, recipe, windows).to(place)
        learns = recipe.loss == "distillation"
        found = fine_tune(
            model, windows, held_out, recipe, out, teacher=dense if learns else None, progress=progress
        )
        if not first:
            return None
    found |= {"dense": reference}
    write_result(found, out, figure="perplexity")
    if recipe.method == "lora":
        model.cpu().save_pretrained(out / "adapter")
    elif _storable(model, recipe) and not (out / "model" / "config.json").exists():
        save(model.cpu(), out / "model")
    return found


def _storable(model: nn.Module, recipe: LanguageRecipe) -> bool:
    """A folder holds one pair of factors an algorithm: trained ones differ from layer to layer."""
    return recipe.factors == "frozen" and any(isinstance(m, Composite) for m in model.modules())
