"""A causal language model fine-tuned on one text: STL layers beside fixed 2:4 masks and LoRA.

    python -m benchmarks.fine_tuning --model SmolLM2-135M --converted FOLDER --text TEXT --evaluate TEXT

The converted model is what `stl-search convert` has made of the dense one. Every arm sees the same windows in
the same order; each has the learning rate of `ARMS`, which was not searched. Written after every arm, and
gone on with where it was stopped. What does not belong here: training (`stl_models.training.language`).
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from stl_algebra.files import write_atomically
from stl_kernels.speed.timing import environment
from stl_models.training.language import LanguageRecipe
from stl_models.training.parameters import Rates
from stl_models.tuning import Texts, tune_folder
from stl_search.pictures.style import PALETTE

ARMS: dict[str, dict[str, Any]] = {
    "converted at ratio 2": {"method": "converted", "lr": 2e-5},
    "2:4, Wanda's mask": {"method": "2:4", "lr": 1e-4},
    "STL, r=24": {"method": "stl", "rank": 24, "lr": 5e-4},
    "LoRA, rank 8, on the exact model": {"method": "lora", "rank": 8, "lr": 5e-4},
    "STL, r=40": {"method": "stl", "rank": 40, "lr": 5e-4},
}


def summary(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an arm: numbers trained, tokens seen, seconds, perplexity before and after."""
    return [
        {
            "arm": name,
            "trained": found["trained"],
            "tokens": found["rows"][-1]["tokens"],
            "seconds": found["rows"][-1]["seconds"],
            "before": found["before"],
            "after": found["rows"][-1]["perplexity"],
        }
        for name, found in results.items()
    ]


def draw(document: dict[str, Any]) -> bytes:
    """Held-out perplexity against tokens seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, found) in enumerate(document["arms"].items()):
        style = {"marker": "os^Dv"[number % 5], "color": PALETTE[number % len(PALETTE)], "label": name}
        tokens = [0, *(row["tokens"] for row in found["rows"])]
        axes.plot(tokens, [found["before"], *(row["perplexity"] for row in found["rows"])], **style)
    axes.axhline(next(iter(document["arms"].values()))["dense"], color="black", linewidth=0.8, label="dense")
    axes.set_yscale("log")
    axes.set_xlabel("tokens seen")
    axes.set_ylabel("held-out perplexity")
    axes.legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--converted", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--evaluate", type=Path, required=True)
    parser.add_argument("--arm", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--windows", type=int, default=24, help="held out")
    parser.add_argument("--out", type=Path, default=Path("results/training/fine-tuning.json"))
    parser.add_argument("--work", type=Path, default=Path("training-runs"), help="for checkpoints")
    given = parser.parse_args()
    torch.set_num_threads(1)
    document = json.loads(given.out.read_text("utf-8")) if given.out.exists() else {"arms": {}}
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    command = shlex.join(["python", "-m", "benchmarks.fine_tuning", *words])
    document |= {"model": given.model.name, "environment": environment("cpu", command)}
    for name in given.arm:
        if name in document["arms"]:
            continue
        fields = dict(ARMS[name])
        rates = Rates(lr=fields.pop("lr"), weight_decay=0.0)
        recipe = LanguageRecipe(
            **fields, rates=rates, steps=given.steps, batch=given.batch, warmup=given.steps // 10,
            judge_every=max(1, given.steps // 5),
        )  # fmt: skip
        folder = given.work / "".join(c if c.isalnum() else "-" for c in name)
        texts = Texts(given.text, given.evaluate, given.length, given.windows)
        converted = fields["method"] == "converted"
        source, teacher = (given.converted, given.model) if converted else (given.model, None)
        found = tune_folder(source, texts, folder, recipe, teacher=teacher, device="cpu")
        assert found is not None
        document["arms"][name] = found
        document["summary"] = summary(document["arms"])
        write_atomically(given.out, json.dumps(document, indent=1) + "\n")
        # Weights of an arm are gigabytes, and its figures are kept.
        shutil.rmtree(folder)
        print(document["summary"][-1], flush=True)
    write_atomically(given.out.with_suffix(".png"), draw(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
