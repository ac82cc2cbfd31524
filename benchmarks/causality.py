"""Whether a converted causal model is causal: tokens are changed, earlier logits must not move at all.

    python -m benchmarks.causality --model FOLDER --calibrate TEXT --out results/models/causality.json

Blocks take turns with the recipes, so that one conversion holds every one of them; the batch is one that the
tile's rows do not divide. What does not belong here: how good the model is (`models`).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import command_line, load, read_results, write
from stl_models.composites.composite import Composite
from stl_models.convert import convert_
from stl_models.planning.config import ConversionConfig, Override
from stl_models.planning.plan import make_plan
from stl_models.recipes import RECIPES
from stl_models.text import plain_text, read_text, token_batches


def configuration(blocks: list[str], names: list[str], encoders: str, ratio: float) -> ConversionConfig:
    """Every block with one recipe, one after the other; repair is not what is asked about."""
    overrides = tuple(
        Override(f"{block}.*", (names[number % len(names)],)) for number, block in enumerate(blocks)
    )
    return ConversionConfig(
        ratio=ratio, overrides=overrides, encoders=encoders, repair="never", sensitivity="error"
    )


@torch.no_grad()
def moved(model: Any, ids: torch.Tensor, positions: list[int]) -> dict[str, dict[str, float]]:
    """Position of a changed token -> largest move of an earlier logit, and of a later one."""
    before = model(input_ids=ids).logits
    found = {}
    for place in positions:
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % model.config.vocab_size
        after = model(input_ids=other).logits
        difference = (after - before).abs()
        found[str(place)] = {
            "earlier": float(difference[:, :place].max()) if place else 0.0,
            "later": float(difference[0, place:].max()),
        }
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causality", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--recipe", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--encoders", default="4x4x4-r32")
    parser.add_argument("--ratio", type=float, default=1.5)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--out", type=Path, default=Path("results/models/causality.json"))
    arguments = parser.parse_args()
    model, tokenizer = load(arguments.model, True)
    text = plain_text(read_text(arguments.calibrate))
    batches = token_batches(tokenizer, text, length=64, rows=arguments.tokens, batch=8)
    blocks = list(make_plan(model, ConversionConfig(), batches[0]).structure.blocks)
    config = configuration(blocks, arguments.recipe, arguments.encoders, arguments.ratio)
    report = convert_(model, config, batches)
    used = Counter(m.recipe for m in model.modules() if isinstance(m, Composite))
    ids = batches[0]["input_ids"][:6]
    found = moved(model, ids, [1, 17, 40, ids.shape[1] - 1])
    exact = all(entry["earlier"] == 0.0 for entry in found.values())
    results = {
        "recipes": dict(used),
        "ratios": report.ratios,
        "moved": found,
        "causal": exact,
        "command": command_line("benchmarks.causality"),
    }
    write(arguments.out, {**read_results(arguments.out), ", ".join(arguments.recipe): results})
    print(f"recipes {dict(used)}; earlier logits moved: {'not at all' if exact else found}")


if __name__ == "__main__":
    main()
