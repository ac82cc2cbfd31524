"""Training from nothing on CIFAR-10, dense, with STL layers, and the plain ways to the same multiplications.

    python -m benchmarks.training --data cifar10.npz

One recipe for all arms: a small T2T-ViT on 32 x 32 images. Every arm has the best of several learning rates,
tried before on training images alone. Every run is written to results/training/ when it is finished,
checkpoints lie in --work: the same command goes on where it was stopped. `--draw` makes picture and table
again.

What does not belong here: how to train (`stl_models.training`).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from stl_algebra.files import write_atomically
from stl_kernels import LayerOptions
from stl_kernels.speed.timing import environment, interleaved
from stl_models.training.parameters import MapDecay, Rates, parameter_groups
from stl_models.training.replacing import TrainingOptions
from stl_models.training.vision import VisionRecipe, build, train_vision
from stl_models.vision.images import ImageSet, InMemory, read_images
from stl_search.pictures.style import PALETTE

RECIPE = VisionRecipe(
    model="t2t-vit-small-32",
    # The reference backend's products are the fastest of the CPU's for training.
    options=TrainingOptions(
        initialisation="draw", layer=LayerOptions(row_grouping="sequence", backend="reference")
    ),
    rates=Rates(lr=1e-3, weight_decay=0.05),
    batch=64,
    warmup=0.5,
    # Judging takes a third of the time of training on as many images.
    judge_every=100,
)
#: Name -> (what differs from the recipe, number of seeds), most telling first.
ARMS: dict[str, tuple[dict[str, Any], int]] = {
    "dense": ({"linear": "dense"}, 2),
    "stl 24": ({"linear": "stl", "rank": 24}, 2),
    "narrow, core of 24": ({"linear": "narrow", "rank": 24}, 2),
    "low rank, core of 24": ({"linear": "low-rank", "rank": 24}, 1),
    "narrow, everything of 24": ({"linear": "narrow", "rank": 24, "matched": "everything"}, 2),
    # Exact: they start as the dense layers; the second takes its steps along the dense weights.
    "stl 49": ({"linear": "stl", "rank": 49, "options": replace(RECIPE.options, initialisation="encode")}, 1),
    "stl 49, along weights": (
        {
            "linear": "stl",
            "rank": 49,
            "options": replace(RECIPE.options, initialisation="encode", gradient="weight"),
            "rates": replace(RECIPE.rates, decay="map"),
        },
        1,
    ),
    "stl 32": ({"linear": "stl", "rank": 32}, 1),
    "stl 16": ({"linear": "stl", "rank": 16}, 1),
}


#: Learning rates that are tried before: of dense weights, and of encoded ones at the best of those.
RATES, ENCODED_RATES = (5e-4, 1e-3, 2e-3), (1.5e-4, 4e-4, 1e-3, 2.5e-3)
#: Training images of the trials, those after them that judge, and epochs. Test images take no part.
TRIAL_IMAGES, TRIAL_HELD, TRIAL_EPOCHS = 10_000, 4_000, 2


def recipe_of(arm: str, rates: Mapping[str, Any], seed: int = 0) -> VisionRecipe:
    """An arm's recipe at its rates, fields of `Rates`."""
    changed = replace(RECIPE, seed=seed, **ARMS[arm][0])
    return replace(changed, rates=replace(changed.rates, **rates))


def runs(rates: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, VisionRecipe]]:
    """(key, arm, recipe), all arms with the first seed before any with the second."""
    return [
        (f"{arm}, seed {seed}", arm, recipe_of(arm, rates[arm], seed))
        for seed in range(max(count for _, count in ARMS.values()))
        for arm, (_, count) in ARMS.items()
        if seed < count
    ]


def choose_rates(
    data: ImageSet, work: Path, keep: Callable[[dict[str, float]], None], tried: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """The best rates of every arm on training images; `keep` gets all accuracies after every trial."""
    assert isinstance(data.train, InMemory)
    images, labels = data.train.images, data.train.labels
    held = slice(TRIAL_IMAGES, TRIAL_IMAGES + TRIAL_HELD)
    small = replace(
        data,
        train=InMemory(images[:TRIAL_IMAGES], labels[:TRIAL_IMAGES]),
        test=InMemory(images[held], labels[held]),
    )

    def accuracy(arm: str, rates: Mapping[str, Any]) -> float:
        key = f"{arm}, lr {rates['lr']:g}, encoded {rates['encoded_lr']}"
        if key not in tried:
            recipe = replace(recipe_of(arm, rates), epochs=TRIAL_EPOCHS)
            folder = work / "trials" / key.replace(", ", "-").replace(" ", "-")
            tried[key] = train_vision(recipe, small, folder)["accuracy"]
            keep(tried)
            print(f"trial {key}: {100 * tried[key]:.2f}%", flush=True)
        return tried[key]

    chosen: dict[str, dict[str, Any]] = {}
    for arm, (changes, _) in ARMS.items():
        if changes["linear"] == "stl":
            options = [{**chosen["dense"], "encoded_lr": rate} for rate in ENCODED_RATES]
        else:
            options = [{"lr": rate, "encoded_lr": None} for rate in RATES]
        chosen[arm] = max(options, key=lambda rates: accuracy(arm, rates))
    return chosen


def summary(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every arm: mean accuracy and its 95% interval over seeds, multiplications, parameters.

    The deviation between seeds is pooled over the arms that have several, whose degrees of freedom add up;
    an arm's interval is mean +- t deviation / sqrt(seeds). It says nothing of other test images: `wilson` of
    a run does.
    """
    from scipy.stats import t as student

    groups: dict[str, list[dict[str, Any]]] = {}
    for one in results.values():
        groups.setdefault(one["arm"], []).append(one)
    squares, freedom = 0.0, 0
    for found in groups.values():
        values = [one["accuracy"] for one in found]
        mean = sum(values) / len(values)
        squares += sum((v - mean) ** 2 for v in values)
        freedom += len(values) - 1
    deviation = math.sqrt(squares / freedom) if freedom else None
    out = {}
    for arm, found in groups.items():
        mean = sum(one["accuracy"] for one in found) / len(found)
        half = None
        if deviation is not None:
            half = float(student.ppf(0.975, freedom)) * deviation / math.sqrt(len(found))
        out[arm] = {
            "accuracy": mean,
            "interval_of_seeds": None if half is None else [mean - half, mean + half],
            "wilson_of_first_seed": found[0]["interval"],
            "seeds": len(found),
            "core": found[0]["multiplications"]["model"]["core"],
            "everything": found[0]["multiplications"]["model"]["everything"],
            "ratios": found[0]["multiplications"]["ratios"],
            "parameters": found[0]["multiplications"]["model"]["parameters"],
        }
    return out


def time_arms(data: ImageSet, rates: Mapping[str, Mapping[str, Any]], rounds: int = 5) -> dict[str, Any]:
    """Seconds of an epoch of every arm: median of steps taken in turn, so that arms share the machine."""
    steps = {arm: _step(recipe_of(arm, rates[arm]), data) for arm in ARMS}
    found = interleaved(steps, torch.device("cpu"), rounds)
    count = len(data.train.labels) // RECIPE.batch
    return {arm: count * values["median_s"] for arm, values in found.items()}


def _step(recipe: VisionRecipe, data: ImageSet) -> Callable[[], Any]:
    model, _, _ = build(recipe, data)
    optimiser = torch.optim.AdamW(parameter_groups(model, recipe.rates))
    if recipe.rates.decay == "map":
        MapDecay(model, recipe.rates.weight_decay).attach(optimiser)
    images = data.normalised(data.train.batch(torch.arange(recipe.batch), None))
    labels = data.train.labels[: recipe.batch]

    def step() -> None:
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(images), labels))
        optimiser.step()

    return step


#: What the picture calls an arm, where its name is long.
LABELS = {
    "narrow, core of 24": "narrow", "narrow, everything of 24": "narrow, all of 24",
    "low rank, core of 24": "low rank", "stl 49, along weights": "stl 49, along w.",
}  # fmt: skip
#: Where names stand in the two panels, where not right of their points: left, above or below the bars.
PLACES = {
    "narrow, core of 24": ("left", "left"), "narrow, everything of 24": ("above", "above"),
    "stl 49, along weights": ("below", "below"), "stl 32": ("right", "left"),
    "low rank, core of 24": ("right", "left"), "stl 16": ("left", "right"),
}  # fmt: skip


def draw(document: dict[str, Any]) -> bytes:
    """Accuracy against multiplications of an image, linear layers' products on the left, all on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    looks = {
        "dense": ("black", "D"), "stl": (PALETTE[0], "o"), "narrow": (PALETTE[1], "s"),
        "low": (PALETTE[2], "^"),
    }  # fmt: skip
    for panel, (axes, key, title) in enumerate((
        (left, "core", "products of the linear layers alone"),
        (right, "everything", "encoding, decoding and attention too"),
    )):  # fmt: skip
        for arm, values in document["summary"].items():
            low, high = values["interval_of_seeds"] or values["wilson_of_first_seed"]
            colour, marker = looks[arm.split()[0].rstrip(",")]
            share = 100 * values["accuracy"]
            bars = [[share - 100 * low], [100 * high - share]]
            axes.errorbar(values[key] / 1e6, share, yerr=bars, fmt=marker, color=colour, capsize=3)
            side = PLACES.get(arm, ("right", "right"))[panel]
            height = {"above": 100 * high, "below": 100 * low}.get(side, share)
            offset = {"above": (4, 4), "below": (0, -12), "left": (-7, 0), "right": (7, 0)}[side]
            axes.annotate(
                LABELS.get(arm, arm), (values[key] / 1e6, height), textcoords="offset points", fontsize=9,
                xytext=offset, ha={"below": "center", "right": "left"}.get(side, "right"),
            )  # fmt: skip
        axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
        axes.set_xlabel(f"million multiplications an image,\n{title}", fontsize=9)
    left.set_ylabel("test accuracy, %")
    images = f"{document['train_images']:,} training images"
    title = f"{document['data']}, {images}, {document['epochs']} epochs; bars: 95% over seeds"
    figure.suptitle(title, fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()


def table(document: dict[str, Any]) -> str:
    """The summary in Markdown."""
    lines = [
        f"{document['data']}, {document['train_images']:,} training images, {document['epochs']} epochs; by",
        f"`{document['environment']['command']}`, {document['environment']['device']}, "
        f"{document['environment']['date'][:10]}.",
        "",
        "| arm | seeds | accuracy, % | 95% over seeds | 95% of the test images | core, M | everything, M | "
        "core ratio | ratio of everything | parameters | rate | s an epoch |",
        "| --- " * 12 + "|",
    ]
    for arm, one in document["summary"].items():
        bounds = (one["interval_of_seeds"], one["wilson_of_first_seed"])
        shown = ["" if b is None else f"{100 * b[0]:.1f} to {100 * b[1]:.1f}" for b in bounds]
        seconds = document.get("seconds_an_epoch", {}).get(arm)
        rates = document["rates"][arm]
        cells = (
            arm, one["seeds"], f"{100 * one['accuracy']:.2f}", *shown, f"{one['core'] / 1e6:.2f}",
            f"{one['everything'] / 1e6:.2f}", f"{one['ratios']['core']:.2f}",
            f"{one['ratios']['everything']:.2f}", f"{one['parameters']:,}",
            f"{rates['encoded_lr'] or rates['lr']:g}", "" if seconds is None else f"{seconds:.0f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--data", type=Path, help="npz or folder, see stl_models.vision.images")
    parser.add_argument("--name", default="CIFAR-10 (JPEG copy)", help="of the data, for the record")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--images", type=int, help="train on the first so many images")
    parser.add_argument("--out", type=Path, default=Path("results/training/cifar10.json"))
    parser.add_argument("--work", type=Path, default=Path("training-runs"), help="for checkpoints")
    parser.add_argument("--draw", action="store_true", help="only picture and table of --out")
    given = parser.parse_args()
    document = json.loads(given.out.read_text("utf-8")) if given.out.exists() else {"runs": {}}
    if not given.draw:
        if given.data is None:
            parser.error("--data is needed")
        torch.set_num_threads(1)
        whole = read_images(given.data)
        data = whole if given.images is None else whole.first(given.images)
        words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
        command = shlex.join(["python", "-m", "benchmarks.training", *words])
        size = {"epochs": given.epochs, "train_images": len(data.train.labels)}
        if document["runs"] and any(document[name] != value for name, value in size.items()):
            parser.error(f"{given.out} holds runs of other epochs or images: give another --out")
        document |= {
            **size,
            "data": given.name,
            "environment": environment(str(torch.device("cpu")), command),
        }

        def keep(tried: dict[str, float]) -> None:
            document["trials"] = tried
            write_atomically(given.out, json.dumps(document, indent=1) + "\n")

        rates = choose_rates(whole, given.work, keep, document.get("trials", {}))
        document["rates"] = rates
        for key, arm, recipe in runs(rates):
            if key in document["runs"]:
                continue
            start = time.process_time()
            folder = given.work / key.replace(", ", "-").replace(" ", "-")
            found = train_vision(replace(recipe, epochs=given.epochs), data, folder)
            cpu = time.process_time() - start
            document["runs"][key] = {"arm": arm, **found, "cpu_seconds_of_last_start": cpu}
            document["summary"] = summary(document["runs"])
            document.pop("seconds_an_epoch", None)
            write_atomically(given.out, json.dumps(document, indent=1) + "\n")
            print(f"{key}: {100 * found['accuracy']:.2f}%, {cpu:.0f} CPU s", flush=True)
        if "seconds_an_epoch" not in document:
            document["seconds_an_epoch"] = time_arms(data, rates)
            write_atomically(given.out, json.dumps(document, indent=1) + "\n")
    write_atomically(given.out.with_suffix(".png"), draw(document))
    print(write_atomically(given.out.with_suffix(".md"), table(document)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
