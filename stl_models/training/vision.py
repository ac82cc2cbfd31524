"""Image classifiers trained from nothing: which model, which linear layers, which data, and what comes out.

What does not belong here: the steps (`loop`), the layers (`replacing`, `controls`), images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_algebra.progress import Progress
from stl_kernels import LayerOptions, STLLinear
from stl_models.training.controls import count_image, low_rank_linears_, narrowed
from stl_models.training.counting import ratios
from stl_models.training.loop import Loop, fit, generator_of, process
from stl_models.training.parameters import Rates
from stl_models.training.replacing import TrainingOptions, replace_linears_
from stl_models.vision.images import ImageSet, mixed
from stl_models.vision.t2t import T2TConfig, T2TViT, t2t_config

LINEARS = ("dense", "stl", "narrow", "low-rank")
#: The head sees one row an image: rows of a tile would be other images.
SKIPPED = ("head",)


@dataclass(frozen=True)
class VisionRecipe:
    """One run.

    Attributes:
        model: a name in `stl_models.vision.MODELS`.
        tokens: attention between the soft splits, "performer" or "transformer".
        linear: "dense"; "stl"; or a control, "narrow" or "low-rank", with the multiplications of "stl".
        rank: of the STL layers, or whose multiplications a control has.
        encoders: names or files; "" for the published white <4,4,4> ones of the rank.
        options: where STL layers start and what of them is trained.
        matched: which multiplications of "narrow" equal those of "stl": "core" or "everything".
        epochs, batch: over the training images; images a step, all processes together.
        rates: learning rates and decay. warmup: epochs.
        smoothing: of the labels. mixup: its alpha, 0 for none. average: see `Loop`.
        judge_every: epochs between two evaluations.
        seed: of initial weights, order and augmentation.
        autocast: bfloat16 products. compiled: by torch.compile.

    Raises:
        InvalidInput: no such kind of layers, or a number out of range.
    """

    model: str = "t2t-vit-small-32"
    tokens: str = "performer"
    linear: str = "dense"
    rank: int = 24
    encoders: str = ""
    options: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(layer=LayerOptions(row_grouping="sequence"))
    )
    matched: str = "core"
    epochs: int = 10
    batch: int = 128
    rates: Rates = field(default_factory=Rates)
    warmup: float = 1.0
    smoothing: float = 0.1
    mixup: float = 0.0
    average: float = 0.0
    judge_every: int = 1
    seed: int = 0
    autocast: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        for name, valid in (("linear", LINEARS), ("matched", ("core", "everything"))):
            if getattr(self, name) not in valid:
                raise InvalidInput(name, expected=f"one of {', '.join(valid)}", got=repr(getattr(self, name)))
        for name in ("epochs", "batch", "judge_every"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, expected="at least 1", got=getattr(self, name))
        if not 0 <= self.smoothing < 1:
            raise InvalidInput("smoothing", expected="0 to below 1", got=self.smoothing)
        if not self.mixup >= 0:
            raise InvalidInput("mixup", expected="a number of at least 0", got=self.mixup)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def build(recipe: VisionRecipe, data: ImageSet) -> tuple[nn.Module, T2TConfig, dict[str, Any]]:
    """A fresh model for the data, on the CPU; its sizes; what an image takes, beside the dense model's.

    Raises:
        InvalidInput: sizes or options that do not fit.
    """
    size = data.train.extent
    found = {"size": size, "classes": len(data.names), "channels": data.train.channels}
    given = {**found, "tokens": recipe.tokens}
    config = t2t_config(recipe.model, given)
    torch.manual_seed(recipe.seed)
    model: nn.Module = T2TViT(config)
    dense = count_image(model, config)
    chosen = recipe.encoders or f"4x4x4-r{recipe.rank}"
    skip = (*SKIPPED, *recipe.options.skip)
    if recipe.linear == "stl":
        replace_linears_(model, chosen, recipe.options, skip=skip)
    elif recipe.linear != "dense":
        reference = T2TViT(config)
        replace_linears_(reference, chosen, skip=skip, layer=LayerOptions(row_grouping="sequence"))
        wanted = count_image(reference, config)
        if recipe.linear == "narrow":
            full = recipe.matched == "everything"
            config = narrowed(config, wanted.everything if full else wanted.core, everything=full)
            torch.manual_seed(recipe.seed)
            model = T2TViT(config)
        else:
            low_rank_linears_(model, 64 / recipe.rank, skip)
    taken = count_image(model, config)
    return model, config, {
        "dense": dense.as_json(), "model": taken.as_json(), "ratios": ratios(dense, taken),
        "width": config.width,
    }  # fmt: skip


def check_batch(model: nn.Module, recipe: VisionRecipe, images: int) -> None:
    """Raises InvalidInput where the batch does not fit tiles, processes or the number of images."""
    processes = process()[1]
    if recipe.batch % processes:
        raise InvalidInput("batch", expected=f"a multiple of {processes} processes", got=recipe.batch)
    if recipe.batch > images:
        raise InvalidInput("batch", expected=f"at most {images}, the training images", got=recipe.batch)
    layers = [m for m in model.modules() if isinstance(m, STLLinear)]
    rows = [m.tile.n for m in layers if m.options.row_grouping == "batch"]
    if rows and recipe.batch // processes < max(rows):
        raise InvalidInput(
            "batch", expected=f"at least {max(rows)} images a process, the rows of a tile",
            got=recipe.batch // processes,
            hint="or group rows along the sequence",
        )  # fmt: skip


def train_vision(
    recipe: VisionRecipe,
    data: ImageSet,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    watch: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train one model; go on where the folder has its checkpoint.

    Args:
        recipe: what to train.
        data: on what.
        folder: for checkpoint, log.csv; the caller writes what is returned.
        device: of the steps.
        progress: told of every step.
        watch: told of every evaluation.

    Returns:
        The recipe, multiplications, parameters, rows of `loop.fit` with accuracy and loss on the test images,
        the last of which are `accuracy` and `interval`, 95% for the number of test images (Wilson).

    Raises:
        InvalidInput: what does not fit, before the first step.
        Diverged, Unavailable: see `loop.fit`.
    """
    model, _, taken = build(recipe, data)
    count = len(data.train.labels)
    check_batch(model, recipe, count)
    model.to(device)
    per_epoch = count // recipe.batch
    loop = Loop(
        recipe.epochs * per_epoch,
        min(round(recipe.warmup * per_epoch), recipe.epochs * per_epoch),
        recipe.rates,
        judge_every=recipe.judge_every * per_epoch,
        keep_every=min(per_epoch, 1000),
        average=recipe.average,
        seed=recipe.seed,
        compiled=recipe.compiled,
    )
    rank, processes = process()

    def read(step: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(count, generator=generator_of("order", recipe.seed, epoch))
        mine = order[place * recipe.batch : (place + 1) * recipe.batch][rank::processes]
        generator = generator_of("augmentation", recipe.seed, (step + 1) * processes + rank)
        return data.train.batch(mine, generator), data.train.labels[mine]

    ahead: dict[int, Future[tuple[Tensor, Tensor]]] = {}

    def loss_of(runner: nn.Module, step: int) -> Tensor:
        # The next batch is read while this one is trained on.
        now = ahead.pop(step, None)
        raw, labels = read(step) if now is None else now.result()
        if step + 1 < loop.steps:
            ahead[step + 1] = reader.submit(read, step + 1)
        images = data.normalised(raw.to(device))
        targets = F.one_hot(labels, len(data.names)).float().to(device)
        if recipe.mixup:
            images, targets = mixed(images, targets, recipe.mixup)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.autocast):
            logits = runner(images)
        return F.cross_entropy(logits.float(), targets, label_smoothing=recipe.smoothing)

    def judge(shown: nn.Module) -> dict[str, float]:
        figures = accuracy_of(shown, data, device, recipe.batch)
        if watch:
            watch(figures)
        return figures

    identity = {"recipe": recipe.as_json(), "images": count}
    with ThreadPoolExecutor(1) as reader:
        rows = fit(model, loss_of, judge, loop, folder, identity=identity, progress=progress)
    found: dict[str, Any] = {"recipe": recipe.as_json(), "multiplications": taken, "rows": rows}
    if rows:
        share, tests = rows[-1]["accuracy"], len(data.test.labels)
        found |= {
            "accuracy": share, "interval": wilson(share, tests), "test_images": tests,
            "train_images": count, "seconds_an_epoch": rows[-1]["seconds"] / recipe.epochs,
        }  # fmt: skip
    return found


@torch.no_grad()
def accuracy_of(model: nn.Module, data: ImageSet, device: torch.device | str, batch: int) -> dict[str, float]:
    """Share of test images that are classified rightly, and the mean cross entropy."""
    right, total = 0, 0.0
    places = torch.arange(len(data.test.labels))
    for part in torch.split(places, batch):
        labels = data.test.labels[part].to(device)
        logits = model(data.normalised(data.test.batch(part, None).to(device))).float()
        right += int((logits.argmax(1) == labels).sum())
        total += float(F.cross_entropy(logits, labels, reduction="sum"))
    return {"accuracy": right / len(places), "test_loss": total / len(places)}


def wilson(share: float, count: int) -> tuple[float, float]:
    """95% interval of a probability of which `count` independent trials gave this share (Wilson 1927)."""
    z = 1.959963984540054
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (centre - half) / (1 + z * z / count), (centre + half) / (1 + z * z / count)
