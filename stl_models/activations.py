"""Capturing activations and weights of a transformers model on a text, for scoring on real matrices.

Writes one safetensors file: for every captured linear layer NAME.x (N, K), NAME.w (K, M) and
NAME.calibration (N', K), and metadata that says which model, text and command made it. Nothing is
downloaded: model and tokenizer come from a local folder.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.files import write_atomically
from stl_algebra.progress import Progress
from stl_algebra.version import __version__


def capture(
    model_folder: str | Path,
    text_file: str | Path,
    out: str | Path,
    *,
    layers: tuple[str, ...] = ("*",),
    rows: int = 512,
    length: int = 128,
    seed: int = 0,
    licence: str = "",
    command: str = "",
    progress: Progress | None = None,
) -> Path:
    """Run the model over the text and keep `rows` test and `rows` calibration rows of every matching layer.

    Token positions are drawn at random from disjoint parts of the text (test rows from the second half of the
    windows), so that rows of one tile are unrelated and calibration never sees the test text.

    Args:
        model_folder: a local folder that transformers' AutoModel and AutoTokenizer read.
        text_file: UTF-8 text.
        out: the file to write.
        layers: shell patterns of module names; linear layers that match any are captured.
        rows: rows of each kind and layer.
        length: tokens per window.
        seed: of the choice of rows.
        licence: of model and text, stored with the file.
        command: stored with the file.
        progress: called per window.

    Raises:
        Unavailable: transformers is not installed, or the output cannot be written.
        InvalidInput: no such folder or file, not a model, no layer matches (lists some), text too short.
    """
    folder, text_path = Path(model_folder), Path(text_file)
    if not folder.is_dir():
        raise InvalidInput(
            "model", expected="a local folder with a transformers model", got=str(model_folder)
        )
    if not text_path.is_file():
        raise InvalidInput("text", expected="an existing text file", got=str(text_file))
    if rows < 1 or length < 2:
        raise InvalidInput("rows, length", expected="at least 1 row and 2 tokens", got=(rows, length))
    text = text_path.read_text(encoding="utf-8", errors="replace")
    model, tokenizer = _load(folder)
    chosen = _matching_layers(model, layers)
    tokens = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    windows = [tokens[i : i + length] for i in range(0, len(tokens) - length + 1, length)]
    rng = np.random.default_rng(seed)
    needed = max(2, 2 * -(-rows // max(1, length // 8)))
    if len(windows) < 2:
        raise InvalidInput("text", expected=f"at least {2 * length} tokens", got=f"{len(tokens)} tokens")
    picked = np.sort(rng.permutation(len(windows))[: min(needed, len(windows))])
    gathered = _run(model, chosen, [windows[i] for i in picked], progress)
    tensors: dict[str, torch.Tensor] = {}
    half = len(picked) // 2 * length
    for name, (module, activations) in gathered.items():
        for key, part in (("calibration", activations[:half]), ("x", activations[half:])):
            if len(part) < rows:
                raise InvalidInput("rows", expected=f"at most {len(part)} for this text", got=rows)
            index = torch.from_numpy(rng.choice(len(part), rows, replace=False))
            tensors[f"{name}.{key}"] = part[index].to(torch.float16).contiguous()
        tensors[f"{name}.w"] = _weight(module).to(torch.float16).contiguous()
    metadata = {
        "stl_capture_version": "1",
        "model": folder.name,
        "text": json.dumps({"name": text_path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()}),
        "licence": licence,
        "command": command,
        "version": __version__,
    }
    return write_atomically(out, save(tensors, metadata))


def _load(folder: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise Unavailable("capture needs transformers: pip install 'stl-algebra[models]'") from error
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(
            "model", expected="a folder that AutoModel reads", got=f"{folder}: {first}"
        ) from error
    return model.eval(), tokenizer


def _is_linear(module: torch.nn.Module) -> bool:
    # GPT-2's Conv1D is a linear layer with its weight stored as (K, M).
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _weight(module: torch.nn.Module) -> torch.Tensor:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return (weight.T if isinstance(module, torch.nn.Linear) else weight).detach()


def _matching_layers(model: torch.nn.Module, patterns: tuple[str, ...]) -> dict[str, torch.nn.Module]:
    linear = {name: m for name, m in model.named_modules() if _is_linear(m)}
    chosen = {n: m for n, m in linear.items() if any(fnmatch.fnmatchcase(n, p) for p in patterns)}
    if not chosen:
        shown = ", ".join(list(linear)[:6])
        raise InvalidInput(
            "layers", expected=f"a pattern that matches a linear layer such as {shown}", got=patterns
        )
    return chosen


def _run(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Module],
    windows: list[list[int]],
    progress: Progress | None,
) -> dict[str, tuple[torch.nn.Module, torch.Tensor]]:
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layers}

    def hook(name: str) -> Callable[[torch.nn.Module, tuple[Any, ...]], None]:
        def record(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            seen[name].append(inputs[0].detach().reshape(-1, inputs[0].shape[-1]).to(torch.float16))

        return record

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in layers.items()]
    try:
        with torch.no_grad():
            for number, window in enumerate(windows):
                model(input_ids=torch.tensor([window]))
                if progress:
                    progress("capture", number + 1, len(windows))
    finally:
        for handle in handles:
            handle.remove()
    return {name: (layers[name], torch.cat(parts)) for name, parts in seen.items() if parts}
