"""From a transformers folder and a text to a folder with the converted model: what the command does.

The source folder is only read. The target takes blocks as they are finished; a conversion that was stopped,
by a signal or a full disk, goes on when the same command is given again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.files import check_writable
from stl_algebra.progress import Progress
from stl_models.convert import convert_
from stl_models.planning.config import ConversionConfig
from stl_models.planning.plan import Plan, make_plan
from stl_models.report import Report
from stl_models.storage.saving import Folder, model_config
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


def load_dense(folder: str | Path, dtype: str = "auto") -> tuple[Any, Any]:
    """Model and tokenizer of a local folder, in the class that config.json names.

    Raises:
        InvalidInput: not a folder that transformers reads, or its model is quantised or converted already.
        Unavailable: transformers is not installed.
    """
    folder = Path(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise InvalidInput(
            "model", expected="a local folder with a transformers model", got=f"{folder} without config.json"
        )
    try:
        data = json.loads(config.read_text("utf-8"))
    except ValueError as error:
        raise InvalidInput("model", expected="a config.json in JSON", got=str(error)) from error
    method = (data.get("quantization_config") or {}).get("quant_method")
    if method is not None:
        words = "converted already" if method == "stl" else f"quantised ({method})"
        raise InvalidInput(
            "model", expected="a dense model in floating point", got=f"{folder}, which is {words}",
            hint="convert the model that it was made from",
        )  # fmt: skip
    try:
        import transformers
    except ImportError as error:
        raise Unavailable(
            "converting a folder needs transformers: pip install 'stl-algebra[models]'"
        ) from error
    kind = getattr(transformers, next(iter(data.get("architectures") or []), ""), transformers.AutoModel)
    bars: Any = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    # Loading takes seconds; its bar would stand between our own lines.
    bars.disable_progress_bar()
    try:
        model = kind.from_pretrained(folder, local_files_only=True, dtype=dtype)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidInput(
            "model", expected="a folder that transformers reads", got=f"{folder}: {first}"
        ) from error
    finally:
        if shown:
            bars.enable_progress_bar()
    return model.eval(), tokenizer


def pools(folder: str | Path) -> bool:
    """Whether the folder says that states are pooled to one vector (sentence-transformers' files)."""
    path = Path(folder) / "modules.json"
    try:
        modules = json.loads(path.read_text("utf-8"))
        return any("pooling" in str(m.get("type", "")).lower() for m in modules)
    except (OSError, ValueError, AttributeError):
        return False


def plan_folder(
    folder: str | Path, calibration: Calibration, config: ConversionConfig
) -> tuple[Plan, Any, list[dict[str, torch.Tensor]], ConversionConfig]:
    """Read model and text, and plan; nothing is written.

    Returns:
        The plan, the dense model, the calibration batches, the configuration with its objective filled in.

    Raises:
        InvalidInput: model or text cannot be used.
    """
    text = read_text(calibration.text)
    model, tokenizer = load_dense(folder)
    batches = token_batches(
        tokenizer, text, length=calibration.length, rows=calibration.rows, batch=calibration.batch
    )
    if config.objective == "auto" and pools(folder):
        config = config.with_changes(objective="pooled")
    return make_plan(model, config, batches[0]), model, batches, config


def convert_folder(
    folder: str | Path,
    calibration: Calibration,
    out: str | Path,
    config: ConversionConfig,
    *,
    progress: Progress | None = None,
) -> tuple[Report, Any, list[dict[str, torch.Tensor]]]:
    """Convert a folder's model into another folder.

    Args:
        folder: a transformers model; only read.
        calibration: the text.
        out: a new folder, or one that the same conversion has begun.
        config: what is wanted.
        progress: called as steps finish.

    Returns:
        The report, the converted model, the calibration batches.

    Raises:
        InvalidInput: the plan has problems, or model, text, target or configuration do not fit.
        Unavailable: the target cannot be written; finished blocks are kept.
    """
    if Path(out).resolve() == Path(folder).resolve():
        raise InvalidInput("out", expected="another folder than the model's", got=str(out))
    check_writable(out)
    plan, model, batches, config = plan_folder(folder, calibration, config)
    if plan.problems:
        raise InvalidInput("model", expected="layers that can be converted", got="; ".join(plan.problems[:5]))
    identity = {
        "config": config.as_json(),
        "model": _digest(Path(folder) / "config.json"),
        "text": _digest(calibration.text),
        "calibration": [calibration.rows, calibration.length, calibration.batch],
    }
    store = Folder(out, identity)
    report = convert_(model, config, batches, store=store, progress=progress)
    _copy_beside(Path(folder), Path(out))
    store.finish(model, report.as_json(), model_config(model))
    return report, model, batches


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
