"""Converted models measured as results/models/PROTOCOL.md says.

    python -m benchmarks.models encoder --model FOLDER --calibrate TEXT --evaluate TEXT
    python -m benchmarks.models causal --model FOLDER --calibrate TEXT --evaluate TEXT
    python -m benchmarks.models time --model FOLDER --converted FOLDER
    python -m benchmarks.models dequantise FILE.gguf --out FOLDER

A model is a local transformers folder. Every result names the device, the date, the versions and the command;
a result is written as soon as it is there, so that a run that is stopped keeps what it has.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import platform
import resource
import shlex
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import StlError
from stl_algebra.files import write_atomically
from stl_kernels.device.peaks import device_name
from stl_models.comparison import measured_seconds
from stl_models.convert import convert_
from stl_models.metrics import perplexity, spread
from stl_models.planning.config import ConversionConfig
from stl_models.planning.counting import predicted_seconds
from stl_models.planning.plan import make_engine, make_plan
from stl_models.planning.regions import dense_layer
from stl_models.recipes import Shape, Site, get_recipe
from stl_models.statistics.collect import block_moments, inner
from stl_models.statistics.moments import Moments
from stl_models.statistics.streams import Streams
from stl_models.text import plain_text, read_text, token_batches
from stl_models.training.distillation import distil, split

#: Method -> what it changes of the default configuration.
METHODS: dict[str, dict[str, Any]] = {
    "exact": {"recipes": ("exact",)},
    "pivoted-low-rank": {"recipes": ("exact", "pivoted-low-rank")},
    "structured": {"recipes": ("exact", "shared-input", "neurons", "value-basis")},
    "all": {},
    "pivoted-low-rank without tiles": {"recipes": ("pivoted-low-rank",), "tiles": "never"},
    "2:4-sparsegpt": {"recipes": ("2:4-sparsegpt",), "tiles": "never"},
    "2:4-refit": {"recipes": ("2:4",), "tiles": "never"},
    "2:4-wanda": {"recipes": ("2:4-wanda",), "tiles": "never"},
    "low-rank-whitened": {"recipes": ("low-rank-whitened",), "tiles": "never"},
}


def config_of(method: str, ratio: float, **changes: Any) -> ConversionConfig:
    """The configuration of a method at a ratio; `exact` takes the ratio that it has."""
    return ConversionConfig(**{"ratio": 1.3 if method == "exact" else ratio, **METHODS[method], **changes})


def load(folder: Path, causal: bool) -> tuple[Any, Any]:
    """Model in float32 and tokenizer."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    kind = AutoModelForCausalLM if causal else AutoModel
    folder = folder.resolve(strict=True)  # a name that is no folder would be looked up on a hub
    model = kind.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def paragraphs(text: str, count: int) -> list[str]:
    """The first paragraphs of at least 64 characters."""
    return [line.strip() for line in text.splitlines() if len(line.strip()) >= 64][:count]


@torch.no_grad()
def embeddings(model: nn.Module, tokenizer: Any, texts: list[str]) -> Tensor:
    """Sentence embeddings (n, d): the mean over tokens, normalised; 128 tokens at most."""
    found = []
    for start in range(0, len(texts), 16):
        batch = tokenizer(
            texts[start : start + 16], padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].to(states)
        found.append(nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
    return torch.cat(found)


def shifted_error(change: Tensor, fitted: Moments, seen: Moments) -> float:
    """E |(x - mean)^T change|^2 on the rows seen, the mean being that of the rows fitted to."""
    away = (seen.mean - fitted.mean) @ change
    return seen.error(change) + float(away.square().sum())


def layer_errors(
    model: nn.Module, config: ConversionConfig, batches: list[Any], seen: list[Any]
) -> dict[str, float]:
    """Each layer alone at the uniform ratio, dense statistics: relative error on the batches seen."""
    plan = make_plan(model, config, batches[0])
    engine, _, _ = make_engine(model, config)
    streams, others = (
        Streams(model, plan.structure.blocks, batches),
        Streams(model, plan.structure.blocks, seen),
    )
    states, other_states = streams.first, others.first
    errors: dict[str, float] = {}
    for number, name in enumerate(plan.structure.blocks):
        block = model.get_submodule(name)
        groups = plan.links.within([n for n in plan.links.order if n.startswith(f"{name}.")]).inputs
        fitted = block_moments(streams, number, block, states, groups, range(len(batches)))
        judged = block_moments(others, number, block, other_states, groups, range(len(seen)))
        for layer_name in fitted:
            layer = dense_layer(layer_name, block.get_submodule(inner(name, layer_name)), fitted[layer_name])
            site, budget = Site("linear", (layer,)), layer.weight.numel() / (config.ratio or 1)
            recipe = get_recipe(config.recipes[-1])
            fits = [c for c in recipe.sizes(Shape.of(site), engine) if c[1] <= budget * (1 + 1e-9)]
            fit = recipe.fit(site, max(fits, key=lambda c: c[1])[0], engine)
            error = shifted_error(fit.changes[layer_name], fitted[layer_name], judged[layer_name])
            errors[layer_name] = error / judged[layer_name].power(layer.weight)
        states = streams.run_all(number, block, states)
        other_states = others.run_all(number, block, other_states)
    return errors


def measure(
    convert: Callable[[], tuple[nn.Module, dict[str, Any]]], judge: Callable[[nn.Module], dict[str, Any]]
) -> dict[str, Any]:
    """What a conversion did, and the model's metric."""
    model, done = convert()
    # The peak is the process's: of all conversions of one run so far.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**done, "peak_bytes_so_far": peak, **judge(model), "command": command_line()}


def run(arguments: argparse.Namespace) -> None:
    """All methods and ratios that are asked for."""
    causal = arguments.command == "causal"
    model, tokenizer = load(arguments.model, causal)
    length, rows = (256, 6144) if causal else (128, 24_000)
    text = plain_text(read_text(arguments.calibrate))
    batches = token_batches(
        tokenizer, text, length=length, rows=arguments.rows or rows, batch=4 if causal else 16
    )
    evaluation = read_text(arguments.evaluate)
    results = read_results(arguments.out)
    parts = token_batches(tokenizer, evaluation, length=length)
    windows = spread([part["input_ids"] for part in parts], 24)
    if causal:
        results["dense"] = {"perplexity": perplexity(model, windows)}

        def judge(converted: nn.Module) -> dict[str, Any]:
            return {"perplexity": perplexity(converted, windows)}
    else:
        texts = paragraphs(evaluation, 800)
        dense = embeddings(model, tokenizer, texts)

        def judge(converted: nn.Module) -> dict[str, Any]:
            cosine = (embeddings(converted, tokenizer, texts).double() * dense.double()).sum(1)
            return {"cosine": float(cosine.mean()), "cosine_tenth": float(cosine.quantile(0.1))}

    if arguments.layers:
        seen = [
            tokenizer(t, truncation=True, max_length=128, return_tensors="pt")
            for t in paragraphs(evaluation, 128)
        ]
        for method in arguments.method:
            for ratio in arguments.ratio:
                config = config_of(method, ratio, **json.loads(arguments.set))
                errors = layer_errors(model, config, batches, [dict(b) for b in seen])
                median = statistics.median(errors.values())
                name = f"{method} at {ratio}" + (f", {arguments.set}" if arguments.set != "{}" else "")
                results.setdefault("layers", {})[name] = {
                    "median": median,
                    "errors": errors,
                    "command": command_line(),
                }
                print(f"layers, {method} at {ratio}: median {median:.4f}", flush=True)
                write(arguments.out, results)
        return
    for method in arguments.method:
        for ratio in arguments.ratio:
            for repair in arguments.repair:
                objective = {} if causal else {"objective": "pooled"}
                extra = json.loads(arguments.set)
                config = config_of(method, ratio, repair=repair, **{**objective, **extra})

                def convert(config: ConversionConfig = config) -> tuple[nn.Module, dict[str, Any]]:
                    converted = copy.deepcopy(model)
                    fitted, held = split(batches) if arguments.steps else (batches, [])
                    report = convert_(converted, config, fitted)
                    kept = sum(b["repaired"] for b in report.blocks.values())
                    errors = statistics.median(report.errors.values())
                    done = {"ratios": report.ratios, "repaired_blocks": kept, "median_fitted_error": errors}
                    if arguments.times:
                        done["times"] = measured_seconds(model, converted, windows, config)
                    if arguments.steps:
                        done["before_distillation"] = judge(converted)
                        done["distillation"] = distil(
                            converted, model, fitted, held, steps=arguments.steps
                        ).as_json()
                    return converted, done

                name = f"{method} at {ratio}, repair {repair}" + (
                    f", {arguments.steps} steps" if arguments.steps else ""
                )
                name += f", {arguments.set}" if extra else ""
                try:
                    results[name] = measure(convert, judge)
                except StlError as error:
                    results[name] = {"error": str(error)}
                short = {
                    k: v for k, v in results[name].items() if k not in ("ratios", "distillation", "times")
                }
                print(name, short, f"core {results[name].get('ratios', {}).get('core', 0):.3f}", flush=True)
                write(arguments.out, results)


def time_models(arguments: argparse.Namespace) -> None:
    """Dense and converted model side by side, measured and predicted, at batch 32 x 128."""
    from stl_kernels.speed.timing import interleaved
    from stl_models import load as load_converted
    from stl_models.storage.dense import load_dense

    dense, _ = load_dense(arguments.model)
    converted = load_converted(arguments.converted)
    batch = {"input_ids": torch.randint(5, 1000, (32, 128), generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        runs = {"dense": lambda: dense(**batch), "converted": lambda: converted(**batch)}
        measured = interleaved(runs, torch.device("cpu"), 5)
    plan = json.loads((arguments.converted / "plan.json").read_text("utf-8"))
    # Predicted here, by the rates of this machine, wherever the model was converted.
    config = ConversionConfig.from_json(plan["config"])
    engine, peaks, note = make_engine(dense, config)
    if peaks is None:
        raise SystemExit(note)
    results = read_results(arguments.out)
    results[f"time of {arguments.converted.name}"] = {
        "measured": measured,
        "measured_speedup": measured["dense"]["median_s"] / measured["converted"]["median_s"],
        "predicted_of_layers": predicted_seconds(converted, make_plan(dense, config, batch), (engine, peaks)),
        "ratios": plan["ratios"],
        "threads": torch.get_num_threads(),
        "command": command_line(),
    }
    print(json.dumps(results[f"time of {arguments.converted.name}"], indent=1))
    write(arguments.out, results)


def read_results(path: Path) -> dict[str, Any]:
    """The results of an earlier run, to be added to."""
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))["results"]
    return found


def command_line(module: str = "benchmarks.models") -> str:
    """The command as it was given, folders by their last name."""
    words = (Path(a).name if os.sep in a else a for a in sys.argv[1:])
    return shlex.join(["python", "-m", module, *words])


def write(path: Path, results: dict[str, Any]) -> None:
    """Results with what they were made by."""
    import transformers

    document = {
        "device": device_name("cpu"),
        "date": datetime.date.today().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "results": results,
    }
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("encoder", "causal"):
        sub = commands.add_parser(name)
        sub.add_argument("--model", type=Path, required=True)
        sub.add_argument("--calibrate", type=Path, required=True)
        sub.add_argument("--evaluate", type=Path, required=True)
        sub.add_argument("--method", nargs="+", choices=list(METHODS), default=list(METHODS))
        sub.add_argument("--ratio", nargs="+", type=float, default=[2.0])
        sub.add_argument("--repair", nargs="+", default=["held-out"])
        sub.add_argument("--rows", type=int, default=0)
        sub.add_argument("--steps", type=int, default=0)
        sub.add_argument("--layers", action="store_true")
        sub.add_argument("--times", action="store_true", help="of dense and converted, batch 32 x 128")
        sub.add_argument("--set", default="{}", help="further fields of the configuration, JSON")
        sub.add_argument("--out", type=Path, default=Path("results/models") / f"{name}.json")
    timing = commands.add_parser("time")
    timing.add_argument("--model", type=Path, required=True)
    timing.add_argument("--converted", type=Path, required=True)
    timing.add_argument("--out", type=Path, default=Path("results/models/time.json"))
    dequantise = commands.add_parser("dequantise")
    dequantise.add_argument("gguf", type=Path)
    dequantise.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "dequantise":
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = {"gguf_file": arguments.gguf.name, "local_files_only": True}
        model: Any = AutoModelForCausalLM.from_pretrained(arguments.gguf.parent, dtype=torch.float32, **where)
        if getattr(model, "hf_quantizer", None) is not None:
            # The weights are plain float32 by now; only the label is left of the quantised file.
            model.hf_quantizer.remove_quantization_config(model)
        model.save_pretrained(arguments.out)
        AutoTokenizer.from_pretrained(arguments.gguf.parent, **where).save_pretrained(arguments.out)
        return
    (time_models if arguments.command == "time" else run)(arguments)


if __name__ == "__main__":
    main()
