"""Converting a model: plan, statistics, allocation, block after block with repair, tiles; and what was done.

What does not belong here: how any of these works (their modules), saving (`saving`), the page (`reporting`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_algebra.progress import Progress
from stl_kernels import unpacked
from stl_kernels.layers.factors import STLFactors
from stl_models.composites.composite import Composite, on_tiles, replace_products
from stl_models.planning.allocate import Allocation, Decision
from stl_models.planning.config import ConversionConfig
from stl_models.planning.counting import count_layers, predicted_seconds
from stl_models.planning.measuring import Measuring
from stl_models.planning.plan import Plan, make_engine, make_plan, model_dtype
from stl_models.recipes import Engine
from stl_models.repair import BlockOutcome, convert_block
from stl_models.report import Report
from stl_models.statistics.collect import Pair
from stl_models.statistics.streams import Streams, rows_in
from stl_models.storage.transformers import attach
from stl_models.structure.modules import replace_module
from stl_models.structure.residence import Lazy, emptied, residence_of, resident
from stl_models.structure.tracing import Batch
from stl_models.training.distillation import distil, split


class BlockStore(Protocol):
    """Keeps finished blocks, so that a conversion that was stopped goes on where it was."""

    def load(self, block: str, module: nn.Module) -> BlockOutcome | None:
        """The block as it was finished before, or None."""
        ...

    def save(self, block: str, outcome: BlockOutcome) -> None:
        """Keep a finished block."""
        ...

    def decisions(self) -> tuple[Allocation, Mapping[str, Lazy]] | None:
        """The allocation of the same conversion and its sensitivities, or None."""
        ...

    def keep_decisions(self, allocation: Allocation, sensitivities: Mapping[str, Lazy]) -> None:
        """Keep the allocation, and what fits depend on."""
        ...


# Weights are used a few times and replaced: a second copy of them would cost memory and save no time.
@unpacked()
def convert_(
    model: nn.Module,
    config: ConversionConfig | None = None,
    calibration: Iterable[Batch] = (),
    *,
    store: BlockStore | None = None,
    progress: Progress | None = None,
    plan: Plan | None = None,
) -> Report:
    """Convert the linear layers of a model in place.

    Args:
        model: any torch or transformers model, in floating point.
        config: what is wanted; ratio 2.0 by default.
        calibration: batches that the model is called with: mappings of keywords (a DataLoader's), tensors, or
            tuples of positional arguments. Text that the model will meet; thousands of tokens.
        store: keeps finished blocks.
        progress: called before a block, with the seconds that it is expected to take, and as it is finished.
        plan: of this model and configuration, where it was made before.

    Returns:
        What was done. The model is left as it was when an error is raised before the first block is replaced.

    Raises:
        InvalidInput: the plan has problems (all are named), the target cannot be reached, or the calibration
            is empty, has one row only or never varies.
    """
    config = config or ConversionConfig()
    started = time.monotonic()
    batches = list(calibration)
    if not batches:
        raise InvalidInput("calibration", expected="at least one batch", got="none")
    plan = plan or make_plan(model, config, batches[0])
    if plan.problems:
        raise InvalidInput(
            "model", expected="layers that can be converted", got="; ".join(plan.problems[:5]),
            hint="name them with skip to leave them alone" if plan.structure.problems else "",
        )  # fmt: skip
    if config.dtype not in ("", model_dtype(model)):
        raise InvalidInput(
            "dtype", expected=f"the model's own, {model_dtype(model)}", got=config.dtype,
            hint="load the model in the dtype that is wanted",
        )  # fmt: skip
    held: list[Batch] = []
    if config.distillation:
        if len(batches) < 2:
            raise InvalidInput("calibration", expected="two batches at least, to distil", got=len(batches))
        # Steps are judged on batches that nothing was fitted to.
        batches, held = split(batches)
    torch.manual_seed(config.seed)
    teacher = copy.deepcopy(model) if config.distillation else None
    work = Conversion(model, plan, batches, progress)
    kept = store.decisions() if store is not None else None
    if kept is None:
        allocation = work.measuring.allocate()
        if store is not None:
            store.keep_decisions(allocation, work.measuring.sensitivities())
    else:
        allocation = kept[0]
        work.measuring.take_sensitivities(kept[1])
    report = Report(config, plan, allocation, rows=rows_in(batches), notes=list(plan.notes))
    work.convert(allocation, report, store)
    report.ratios = count_layers(model, plan)
    if work.peaks is not None:
        report.ratios |= predicted_seconds(model, plan, (work.engine, work.peaks))
        if report.ratios["seconds"] > report.ratios["seconds_dense"]:
            report.notes.append(f"the converted layers are predicted to be slower on {config.device!r}")
    if teacher is not None:
        done = distil(model, teacher, batches, held, steps=config.distillation, progress=progress)
        report.distillation = done.as_json()
    attach(model)
    report.seconds = time.monotonic() - started
    return report


class Conversion:
    """A conversion at work: the streams, what was measured, the blocks.

    Args:
        model: converted in place.
        plan: without problems.
        batches: the calibration.
        progress: called as steps finish.
    """

    def __init__(
        self, model: nn.Module, plan: Plan, batches: Sequence[Batch], progress: Progress | None = None
    ) -> None:
        self.model, self.plan, self.config = model, plan, plan.config
        self.progress = progress or (lambda what, done, of: None)
        self.engine, self.peaks, _ = make_engine(model, plan.config)
        self.streams = Streams(model, plan.structure.blocks if plan.chained else (), batches)
        self.measuring = Measuring(self.streams, plan, (self.engine, self.peaks), self.progress)

    def convert(self, allocation: Allocation, report: Report, store: BlockStore | None) -> None:
        """Convert block after block, both streams side by side; fills in the report, uses up the states."""
        by_name = {n: d for d in allocation.decisions for n in d.names}
        dense_states = converted_states = self.streams.first
        streaming = any(d.approximate for d in allocation.decisions)
        count = len(self.streams.blocks)
        for number, block in enumerate(self.streams.blocks):
            decisions = list(dict.fromkeys(by_name[n] for n in self.measuring.names(number) if n in by_name))
            expected = self.measuring.expected
            self.progress(f"blocks, {words_of(expected)} each", number, count)
            with resident(self.model, block):
                module = self.model.get_submodule(block)
                pair = Pair(number, module, module, dense_states, converted_states)
                outcome = self._block(pair, decisions, store)
                if streaming and number + 1 < count:
                    # Both streams start with the same states; from then on each has its own place.
                    place = None if dense_states is converted_states else dense_states
                    dense_states = self.streams.run_all(number, module, dense_states, place)
            if streaming and number + 1 < count:
                # Through the block as it will run, so that a conversion that was resumed is the same.
                self.streams.run_all(number, outcome.module, converted_states, converted_states)
            self._place(block, outcome.module)
            self.measuring.forget(number)
            self.measuring.expected = outcome.seconds
            report.errors |= outcome.errors
            report.blocks[block or "model"] = {
                "repaired": outcome.repaired,
                "held_out_error": outcome.block_errors,
                "seconds": outcome.seconds,
                "expected_seconds": expected,
            }
            self.progress("blocks", number + 1, count)

    def _block(self, pair: Pair, decisions: Sequence[Decision], store: BlockStore | None) -> BlockOutcome:
        """A block as it will run: read where it was finished before, else converted and kept."""
        block, started = self.streams.blocks[pair.number], time.monotonic()
        outcome = store.load(block, pair.dense) if store is not None else None
        if outcome is not None:
            return outcome
        outcome = convert_block(
            self.streams, pair, decisions, self.plan.links, self.measuring.layer, self.engine,
            (self.config.repair, self._held()),
        )  # fmt: skip
        for module in outcome.module.modules():
            if isinstance(module, Composite):
                tile_products(module, self.engine, self.config)
        outcome = replace(outcome, seconds=time.monotonic() - started)
        if store is not None:
            store.save(block, outcome)
        return outcome

    def _held(self) -> list[int]:
        """Numbers of the batches that repair is judged on."""
        count = len(self.streams.batches)
        held = list(range(count))[:: max(1, round(1 / self.config.held_out))] if self.config.held_out else []
        return held if len(held) < count else []

    def _place(self, block: str, converted: nn.Module) -> None:
        """Put a converted block's layers into the model; without numbers where those are in files."""
        for name, module in list(converted.named_modules()):
            if isinstance(module, Composite):
                replace_module(self.model, f"{block}.{name}" if block else name, module)
                if residence_of(self.model) is not None:
                    emptied(module, lambda part: isinstance(part, STLFactors))


def words_of(seconds: float) -> str:
    """A time for a line of progress."""
    if seconds < 0.1:
        return "less than 0.1 s"
    return f"about {seconds:.0f} s" if seconds >= 10 else f"about {seconds:.1f} s"


def tile_products(module: nn.Module, engine: Engine, config: ConversionConfig) -> None:
    """Put a composite's dense products on the exact tiles where the engine uses them."""

    def make(linear: nn.Linear) -> nn.Module | None:
        if engine.exact is None or not engine.uses_tiles(linear.in_features, linear.out_features):
            return None
        return on_tiles(linear, engine.exact, config.row_grouping)

    replace_products(module, make)
