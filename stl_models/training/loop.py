"""Steps of training, for any loss: schedule, average of the weights, checkpoints, processes side by side.

What is random in a step is drawn after seeding torch with the run's seed, the step and the process, so that a
run can go on from any step. What does not belong here: data, models, what the loss is.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stl_algebra.errors import InvalidInput
from stl_algebra.files import check_writable, write_atomically
from stl_algebra.progress import Progress
from stl_models.training.checkpoints import read_checkpoint, write_checkpoint
from stl_models.training.divergence import refuse_divergence
from stl_models.training.parameters import MapDecay, Rates, parameter_groups

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Loop:
    """How long and how fast.

    Attributes:
        steps: of the optimiser, AdamW.
        warmup: steps in which the learning rates rise linearly; then they fall to zero as a half cosine.
        rates: learning rates and decay.
        clip: the largest norm of the gradient of all parameters together.
        judge_every, keep_every: steps between two evaluations, and between two checkpoints.
        average: the decay of the exponential average of the weights that is judged; 0 for none.
        seed: of everything random.
        compiled: whether torch.compile runs the model.

    Raises:
        InvalidInput: a number is out of range.
    """

    steps: int
    warmup: int = 0
    rates: Rates = field(default_factory=Rates)
    clip: float = 1.0
    judge_every: int = 100
    keep_every: int = 100
    average: float = 0.0
    seed: int = 0
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "judge_every", "keep_every"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, expected="at least 1", got=getattr(self, name))
        if not 0 <= self.warmup <= self.steps:
            raise InvalidInput("warmup", expected=f"0 to {self.steps} steps", got=self.warmup)
        if not 0 <= self.average < 1:
            raise InvalidInput("average", expected="0 to below 1", got=self.average)

    def factor(self, step: int) -> float:
        """Of the learning rates in this step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


Loss = Callable[[nn.Module, int], Tensor]
Judge = Callable[[nn.Module], Mapping[str, float]]


def fit(
    model: nn.Module,
    loss_of: Loss,
    judge: Judge,
    loop: Loop,
    folder: Path,
    *,
    identity: Mapping[str, Any],
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train a model in place; go on where the folder has a checkpoint.

    Under torchrun every process calls it with its own share of the batches in `loss_of`; gradients are
    averaged, the first process judges and writes.

    Args:
        model: on its device; at the end it holds the averaged weights where they were asked for.
        loss_of: (model, step) to the loss of this process's part of the step's batch.
        judge: the model to figures, in evaluation mode.
        loop: how long and how fast.
        folder: for checkpoint and log.csv.
        identity: what makes the run what it is; a checkpoint with another one is refused.
        progress: told the loss and the steps a second.

    Returns:
        One row an evaluation: step, mean training loss since the last one, learning rate,
        seconds of steps so far, and the figures.

    Raises:
        InvalidInput: the folder holds another run.
        Diverged: a loss or a gradient is not finite; says the step and the layer.
        Unavailable: a file cannot be written.
    """
    check_writable(folder)
    optimiser = torch.optim.AdamW(parameter_groups(model, loop.rates), lr=loop.rates.lr)
    if loop.rates.decay == "map" and loop.rates.weight_decay:
        MapDecay(model, loop.rates.weight_decay).attach(optimiser)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, loop.factor)
    modules: dict[str, nn.Module] = {"model": model}
    average = None
    if loop.average:
        ema = get_ema_multi_avg_fn(loop.average)  # type: ignore[no-untyped-call]
        average = AveragedModel(model, multi_avg_fn=ema)
        modules["average"] = average
    path = folder / CHECKPOINT
    kept: dict[str, Any] = {"step": 0, "rows": [], "seconds": 0.0, "losses": []}
    whole = {**identity, "loop": asdict(loop)}
    if path.exists():
        kept = read_checkpoint(path, modules, optimiser)
        _same_run(kept["identity"], whole, folder)
        schedule.last_epoch = kept["step"]
        for group, base in zip(optimiser.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = base * loop.factor(kept["step"])
    rows, losses, rank = kept["rows"], kept["losses"], process()[0]
    runner: nn.Module = torch.compile(model) if loop.compiled else model  # type: ignore[assignment]
    if process()[1] > 1:
        runner = DistributedDataParallel(runner)
    before = kept["seconds"]
    begun = time.perf_counter()
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    model.train()
    for step in range(kept["step"], loop.steps):
        seed_step(loop.seed, step, rank)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(runner, step)
        value = float(loss.detach())
        refuse_divergence(model, step, value, lambda s=step: loss_of(model, s), rank)  # type: ignore[misc]
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(trained, loop.clip))
        refuse_divergence(model, step, norm, None, rank)
        optimiser.step()
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        losses.append(value)
        done = step + 1
        last = done == loop.steps
        if done % loop.judge_every == 0 or last:
            spent = before + time.perf_counter() - begun
            mean = sum(losses) / len(losses)
            row = {"step": done, "loss": mean, "rate": loop.factor(step), "seconds": spent}
            losses = []
            if rank == 0:
                shown = model if average is None else average.module
                shown.eval()
                with torch.no_grad():
                    row |= judge(shown)
                model.train()
                rows.append(row)
                write_atomically(folder / "log.csv", as_csv(rows))
            # Judging is no step.
            before, begun = spent, time.perf_counter()
        if rank == 0 and (done % loop.keep_every == 0 or last):
            spent = before + time.perf_counter() - begun
            state = {"step": done, "rows": rows, "seconds": spent, "losses": losses, "identity": whole}
            write_checkpoint(path, modules, optimiser, state)
        if progress and rank == 0:
            speed = (done - kept["step"]) / max(1e-9, before - kept["seconds"] + time.perf_counter() - begun)
            progress(f"loss {value:.4f}, {speed:.3g} steps/s", done, loop.steps)
    if average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval()
    return rows  # type: ignore[no-any-return]


def process() -> tuple[int, int]:
    """This process's number and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step of one process."""
    torch.manual_seed(zlib.crc32(f"{seed} {step} {rank}".encode()))


def generator_of(what: str, seed: int, number: int) -> torch.Generator:
    """A generator on the CPU that follows from its name, the seed and a number."""
    return torch.Generator().manual_seed(zlib.crc32(f"{what} {seed} {number}".encode()))


def as_csv(rows: list[dict[str, Any]]) -> str:
    """A table with a head."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _same_run(kept: dict[str, Any], given: dict[str, Any], folder: Path) -> None:
    given = json.loads(json.dumps(given))
    for name in sorted(set(kept) | set(given)):
        if kept.get(name) != given.get(name):
            old, new = kept.get(name), given.get(name)
            if isinstance(old, dict) and isinstance(new, dict):
                name = next(k for k in {**old, **new} if old.get(k) != new.get(k))
                old, new = old.get(name), new.get(name)
            raise InvalidInput(
                "out", expected=f"a folder whose run has {name} {new}", got=f"{folder} with {old}",
                hint="give another folder, or the options that it was begun with",
            )  # fmt: skip
