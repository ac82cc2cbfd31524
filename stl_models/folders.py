"""From a transformers folder and a text to a folder with the converted model: what the command does.

The source folder is only read. The target takes blocks as they are finished; a conversion that was stopped,
by a signal or a full disk, goes on when the same command is given again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.files import check_writable, write_atomically
from stl_algebra.progress import Progress
from stl_models.comparison import figures, measured_seconds, peers
from stl_models.convert import convert_
from stl_models.metrics import metric_for, spread
from stl_models.planning.config import ConversionConfig
from stl_models.planning.plan import Plan, make_plan
from stl_models.report import Report
from stl_models.storage.converted import load
from stl_models.storage.dense import load_dense, load_tokenizer, open_dense, read_description
from stl_models.storage.saving import SCRATCH, Folder, model_config
from stl_models.text import read_text, token_batches


@dataclass(frozen=True)
class Calibration:
    """Which text, and how much of it.

    Attributes:
        text: a UTF-8 file.
        rows: tokens, in windows spread over the text.
        length: tokens a window.
        batch: windows a batch.
    """

    text: Path
    rows: int = 24_000
    length: int = 128
    batch: int = 16


@dataclass(frozen=True, eq=False)
class Opened:
    """A folder's model, ready to be converted.

    Attributes:
        plan: of the conversion.
        model: dense; without numbers where its blocks are read as they run.
        batches: the calibration.
        config: with its objective filled in.
    """

    plan: Plan
    model: Any
    batches: list[dict[str, torch.Tensor]]
    config: ConversionConfig


def pools(folder: str | Path) -> bool:
    """Whether the folder says that states are pooled to one vector (sentence-transformers' files)."""
    path = Path(folder) / "modules.json"
    try:
        modules = json.loads(path.read_text("utf-8"))
        return any("pooling" in str(m.get("type", "")).lower() for m in modules)
    except (OSError, ValueError, AttributeError):
        return False


def plan_folder(
    folder: str | Path, calibration: Calibration, config: ConversionConfig, scratch: Path | None = None
) -> Opened:
    """Read model and text, and plan; nothing is written beside a scratch folder that goes again.

    Args:
        folder: a transformers model; only read.
        calibration: the text.
        config: what is wanted.
        scratch: for what waits beside a block; None for a temporary folder.

    Raises:
        InvalidInput: model or text cannot be used.
    """
    text = read_text(calibration.text)
    read_description(folder)
    batches = token_batches(
        load_tokenizer(folder), text,
        length=calibration.length, rows=calibration.rows, batch=calibration.batch,
    )  # fmt: skip
    if config.objective == "auto" and pools(folder):
        config = config.with_changes(objective="pooled")
    with contextlib.ExitStack() as stack:
        place = scratch or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stl-")))
        model, why = open_dense(folder, place, config.dtype)
        if config.distillation:
            model, why = None, "distillation trains all of it at once"
        if model is not None:
            _check_tokens(model, batches)
            why = "its blocks do not follow each other"
            try:
                plan = make_plan(model, config, batches[0])
                if plan.chained or plan.problems:
                    return Opened(plan, model, batches, config)
            except InvalidInput as error:
                # If it is the user's to mend, the whole model will say so again.
                why = f"it cannot be run block by block ({error.got})"
    model, _ = load_dense(folder, config.dtype or "auto")
    _check_tokens(model, batches)
    plan = make_plan(model, config, batches[0])
    note = f"the whole model is held in memory: {why}"
    return Opened(replace(plan, notes=(*plan.notes, note)), model, batches, config)


def _check_tokens(model: Any, batches: list[dict[str, torch.Tensor]]) -> None:
    """The tokenizer and the model must be of one another."""
    try:
        known = model.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError):
        return
    largest = max(int(part["input_ids"].max()) for part in batches)
    if largest >= known:
        raise InvalidInput("tokenizer", expected=f"tokens below {known}, the model's", got=f"token {largest}")


def convert_folder(
    folder: str | Path,
    calibration: Calibration,
    out: str | Path,
    config: ConversionConfig,
    *,
    progress: Progress | None = None,
) -> tuple[Report, Any, list[dict[str, torch.Tensor]]]:
    """Convert a folder's model into another folder, a block in memory at a time where it is a chain of them.

    Memory is then what the largest block and its conversion take, one batch's activations inside a block, and
    embedding and head while they run; hidden states wait in files in the new folder.

    Args:
        folder: a transformers model; only read.
        calibration: the text.
        out: a new folder, or one that the same conversion has begun.
        config: what is wanted.
        progress: called as steps finish.

    Returns:
        The report, the converted model, the calibration batches. A model that was converted a block at a time
        has no numbers: `stl_models.load(out)` reads it.

    Raises:
        InvalidInput: the plan has problems, or model, text, target or configuration do not fit.
        Unavailable: the target cannot be written; finished blocks are kept.
    """
    if Path(out).resolve() == Path(folder).resolve():
        raise InvalidInput("out", expected="another folder than the model's", got=str(out))
    new = not Path(out).exists()
    check_writable(out)
    scratch = Path(out) / SCRATCH
    # What a conversion that was killed has left.
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        opened = plan_folder(folder, calibration, config, scratch)
        if opened.plan.problems:
            raise InvalidInput(
                "model", expected="layers that can be converted", got="; ".join(opened.plan.problems[:5])
            )
        identity = {
            "config": opened.config.as_json(),
            "model": _digest(Path(folder) / "config.json"),
            "text": _digest(calibration.text),
            "calibration": [calibration.rows, calibration.length, calibration.batch],
        }
        store = Folder(out, identity)
        model, batches = opened.model, opened.batches
        report = convert_(model, opened.config, batches, store=store, progress=progress, plan=opened.plan)
        _copy_beside(Path(folder), Path(out))
        store.finish(model, report.as_json(), model_config(model), trained=bool(report.distillation))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if new:
            # Nothing stays of a conversion that did not begin.
            with contextlib.suppress(OSError):
                Path(out).rmdir()
    return report, model, batches


@dataclass(frozen=True)
class Judging:
    """What is measured of a converted folder.

    Attributes:
        text: held-out, a UTF-8 file.
        windows: of the calibration's length, at most so many, spread over the text.
        compare: convert by the usual methods too and judge those; each takes as long as the conversion did.

    Raises:
        InvalidInput: no such text, or an empty one.
    """

    text: Path
    windows: int = 64
    compare: bool = False

    def __post_init__(self) -> None:
        # Before the conversion that it judges.
        read_text(self.text)


def judge_folder(
    folder: str | Path, out: str | Path, report: Report, calibration: Calibration, judging: Judging,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Fill in what a report says of the whole model: its metric, times, and the usual methods beside it.

    Args:
        folder: the dense model.
        out: the converted one, finished.
        report: of the conversion; changed, and plan.json with it.
        calibration: as the conversion had it.
        judging: what is measured.
        progress: called as steps finish.

    Raises:
        InvalidInput: the text cannot be used.
    """
    tokenizer = load_tokenizer(folder)
    options = {"length": calibration.length, "batch": calibration.batch}
    parts = token_batches(tokenizer, read_text(judging.text), **options)
    windows = spread([part["input_ids"] for part in parts], judging.windows)
    dense, converted = load_dense(folder)[0], load(out)
    metric = metric_for(dense, windows)
    report.times = measured_seconds(dense, converted, windows, report.config)
    own = figures(converted, report, metric)
    before = {"method": "dense", "core": 1.0, "error": 0.0, metric.name: metric.of(dense)}
    report.measured = {metric.name: own[metric.name], f"{metric.name}, dense": before[metric.name]}
    report.peers = [before, {"method": "this model", **own}]
    del converted
    if judging.compare:
        batches = token_batches(tokenizer, read_text(calibration.text), rows=calibration.rows, **options)
        report.peers += peers(dense, report, batches, metric, progress)
    write_atomically(Path(out) / "plan.json", json.dumps(report.as_json(), indent=1))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copy_beside(source: Path, target: Path) -> None:
    """Tokenizer and other small files, so that the folder is complete; never weights or what we write."""
    own = {"config.json", "plan.json", "progress.json"}
    for path in sorted(source.iterdir()):
        small = path.is_file() and path.suffix in (".json", ".txt", ".model", ".jinja")
        if small and path.name not in own and not path.name.endswith(".index.json"):
            try:
                shutil.copyfile(path, target / path.name)
            except OSError as error:
                raise Unavailable(f"cannot write {target / path.name}: {error.strerror or error}") from error
