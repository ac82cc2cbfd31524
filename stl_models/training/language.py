"""Fine-tuning of a causal language model: with STL layers, and the same budget for 2:4 masks and for LoRA.

Only what stands in for linear layers is trained; embeddings, norms and heads stay as they are. What does not
belong here: the steps (`loop`), conversion with calibration (`stl_models.convert`), folders (`storage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.numerics import sparsity
from stl_algebra.progress import Progress
from stl_kernels import LayerOptions, STLLinear
from stl_kernels.layers.dense import read_dense
from stl_models.composites.composite import Composite, Masked
from stl_models.metrics import perplexity
from stl_models.statistics.sensitivity import divergence
from stl_models.structure.modules import find_structure, replace_module
from stl_models.structure.tracing import at_rest, run_model
from stl_models.training.loop import Loop, fit, generator_of, process
from stl_models.training.parameters import Rates
from stl_models.training.replacing import TrainingOptions, replace_linears_

METHODS = ("stl", "2:4", "lora", "converted", "dense")
LOSSES = ("next-token", "distillation")


@dataclass(frozen=True)
class LanguageRecipe:
    """One run.

    Attributes:
        method: "stl" replaces the linear layers of a dense model's blocks by encoded ones; "2:4" keeps two of
            every four weights, chosen by Wanda on the first batches, and trains these; "lora" trains low-rank
            updates beside the frozen weights; "converted" trains the layers of a converted model; "dense" all
            linear layers of the blocks.
        rank: of the <4,4,4> encoders of "stl", or of the updates of "lora".
        factors: of "stl", see `TrainingOptions`.
        loss: "next-token", or "distillation": the divergence from the dense model's predictions.
        steps, batch: how many, of how many windows; all processes together.
        rates: learning rates and decay. warmup: steps.
        judge_every: steps between two evaluations.
        seed: of order and updates.
        autocast: bfloat16 products.

    Raises:
        InvalidInput: no such method or loss, or a number out of range.
    """

    method: str = "stl"
    rank: int = 24
    factors: str = "frozen"
    loss: str = "next-token"
    steps: int = 1000
    batch: int = 8
    rates: Rates = field(default_factory=lambda: Rates(lr=1e-4, weight_decay=0.0))
    warmup: int = 20
    judge_every: int = 100
    seed: int = 0
    autocast: bool = False

    def __post_init__(self) -> None:
        for name, valid in (("method", METHODS), ("loss", LOSSES)):
            if getattr(self, name) not in valid:
                raise InvalidInput(name, expected=f"one of {', '.join(valid)}", got=repr(getattr(self, name)))
        if self.rank < 1 or self.batch < 1:
            name = "rank" if self.rank < 1 else "batch"
            raise InvalidInput(name, expected="at least 1", got=getattr(self, name))


def make_trainable(model: nn.Module, recipe: LanguageRecipe, windows: Tensor) -> nn.Module:
    """The model as the method trains it, everything else frozen; changed in place.

    Args:
        model: dense, or converted for "converted".
        recipe: names the method.
        windows: (n, length) token ids; the first are shown to Wanda.

    Raises:
        InvalidInput: nothing that the method could train.
        Unavailable: "lora" without peft.
    """
    inside = find_structure(model)
    for p in model.parameters():
        p.requires_grad_(False)
    if recipe.method == "converted":
        found = [m for m in model.modules() if isinstance(m, Composite)]
        if not found:
            raise InvalidInput("model", expected="a converted model", got="no converted layer")
        named = [pair for m in found for pair in m.named_parameters()]
        trained = [p for name, p in named if p.is_floating_point() and "factors." not in name]
    elif not inside.linears:
        raise InvalidInput("model", expected="a dense model with linear layers in its blocks", got="none")
    elif recipe.method == "lora":
        return _with_updates(model, recipe, list(inside.linears))
    elif recipe.method == "stl":
        others = set(find_structure(model, everything=True).linears) - set(inside.linears)
        options = TrainingOptions(
            factors=recipe.factors, skip=tuple(others), layer=LayerOptions(row_grouping="batch")
        )
        layers = replace_linears_(model, f"4x4x4-r{recipe.rank}", options)
        for name, layer in layers.items():
            # As conversion makes them, so that folders hold them.
            replace_module(model, name, Composite(layer, layer.in_features, layer.out_features, "tiles"))
        trained = [layer.encoded_w for layer in layers.values()]
        if recipe.factors != "frozen":
            trained += [p for layer in layers.values() for p in layer.factors.parameters()]
    elif recipe.method == "2:4":
        trained = _masked(model, list(inside.linears), windows)
    else:
        trained = [p for name in inside.linears for p in model.get_submodule(name).parameters()]
    for p in trained:
        p.requires_grad_(True)
    return model


@torch.no_grad()
def _masked(model: nn.Module, names: Sequence[str], windows: Tensor, shown: int = 8) -> list[nn.Parameter]:
    squares: dict[str, Tensor] = {}

    def look(name: str) -> Any:
        def see(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen = given[0].flatten(0, -2).double().square().sum(0)
            squares[name] = squares[name] + seen if name in squares else seen

        return see

    handles = [model.get_submodule(name).register_forward_pre_hook(look(name)) for name in names]
    try:
        with at_rest(model):
            run_model(model, {"input_ids": windows[:shown]})
    finally:
        for handle in handles:
            handle.remove()
    trained: list[nn.Parameter] = []
    for name in names:
        read = read_dense(model.get_submodule(name))
        scores = read.weight.double().abs() * squares[name].sqrt()
        mask = torch.from_numpy(sparsity.two_of_four(scores.t().cpu().numpy()))
        part = Masked(read.weight, mask.t().contiguous().to(read.weight), read.bias)
        trained += [p for n, p in part.named_parameters() if n == "weight"]
        replace_module(model, name, Composite(part, part.in_features, part.out_features, "2:4-wanda"))
    return trained


def _with_updates(model: nn.Module, recipe: LanguageRecipe, names: list[str]) -> nn.Module:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise Unavailable("LoRA needs peft: pip install 'stl-algebra[training]'") from error
    torch.manual_seed(recipe.seed)
    config = LoraConfig(r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules=names)
    made: nn.Module = get_peft_model(model, config)
    return made


def check_windows(model: nn.Module, recipe: LanguageRecipe, windows: Tensor) -> None:
    """Raises InvalidInput where the batch does not fit the tiles, the processes or the text."""
    processes = process()[1]
    if recipe.batch % processes:
        raise InvalidInput("batch", expected=f"a multiple of {processes} processes", got=recipe.batch)
    if len(windows) < recipe.batch:
        raise InvalidInput("text", expected=f"at least {recipe.batch} windows", got=f"{len(windows)}")
    rows = max((m.tile.n for m in model.modules() if isinstance(m, STLLinear)), default=1)
    if recipe.batch // processes < rows:
        raise InvalidInput(
            "batch", expected=f"at least {rows} windows a process, the rows of a tile",
            got=recipe.batch // processes,
        )  # fmt: skip


def fine_tune(
    model: nn.Module,
    windows: Tensor,
    held_out: Tensor,
    recipe: LanguageRecipe,
    folder: Path,
    *,
    teacher: nn.Module | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train what `make_trainable` left trainable; go on where the folder has a checkpoint.

    Args:
        model: on its device.
        windows: (n, length) token ids to train on.
        held_out: (n, length), for the perplexity.
        recipe: how.
        folder: for checkpoint and log.csv.
        teacher: the dense model, for distillation.
        progress: told of every step.

    Returns:
        The recipe; numbers trained; perplexity before; rows with perplexity and tokens seen.

    Raises:
        InvalidInput: text, batch and tiles that do not fit, or distillation without a teacher.
        Diverged, Unavailable: see `loop.fit`.
    """
    check_windows(model, recipe, windows)
    if recipe.loss == "distillation" and teacher is None:
        raise InvalidInput("teacher", expected="the dense model, to learn from", got="none")
    place = next(model.parameters()).device
    loop = Loop(
        recipe.steps,
        min(recipe.warmup, recipe.steps),
        recipe.rates,
        judge_every=recipe.judge_every,
        keep_every=max(recipe.judge_every, recipe.steps // 4),
        seed=recipe.seed,
    )
    rank, processes = process()
    an_epoch = len(windows) // recipe.batch

    def loss_of(runner: nn.Module, step: int) -> Tensor:
        epoch, part = divmod(step, an_epoch)
        order = torch.randperm(len(windows), generator=generator_of("order", recipe.seed, epoch))
        mine = order[part * recipe.batch : (part + 1) * recipe.batch][rank::processes]
        ids = windows[mine].to(place)
        with torch.autocast(place.type, torch.bfloat16, enabled=recipe.autocast):
            logits = runner(input_ids=ids).logits.float()
            if recipe.loss == "next-token":
                return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            assert teacher is not None
            with at_rest(teacher):
                wanted = teacher(input_ids=ids).logits
        return divergence(logits, wanted).mean()

    def judge(shown: nn.Module) -> dict[str, float]:
        return {"perplexity": perplexity(shown, held_out.to(place))}

    before = judge(model)["perplexity"]
    identity = {"recipe": asdict(recipe), "windows": list(windows.shape)}
    rows = fit(model, loss_of, judge, loop, folder, identity=identity, progress=progress)
    tokens = recipe.batch * windows.shape[1]
    return {
        "recipe": asdict(recipe),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "before": before,
        "rows": [{**row, "tokens": row["step"] * tokens} for row in rows],
    }
