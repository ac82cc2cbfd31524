"""Loading a transformers model and its tokenizer from a local folder, and running it on token ids.

The class is the one that the folder's config names, so that heads come along; weights that the files do not
hold are named, not made up. Nothing is downloaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stl_algebra.errors import InvalidInput, Unavailable
from stl_models.structure.tracing import written


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that reads token ids.

    Attributes:
        model: float32, in evaluation mode. tokenizer: of transformers.
        missing: names of parameters that the files do not hold; their values are random.
    """

    model: nn.Module
    tokenizer: Any
    missing: frozenset[str]


def load(folder: Path) -> Loaded:
    """Model and tokenizer of a local folder.

    Raises:
        Unavailable: transformers is not installed.
        InvalidInput: not a model that transformers reads, no tokenizer, or its forward takes no token ids.
    """
    try:
        import transformers
    except ImportError as error:
        raise Unavailable("capture needs transformers: pip install 'stl-algebra[models]'") from error
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        named = getattr(
            transformers, (getattr(config, "architectures", None) or [""])[0] or "AutoModel", None
        )
        model, said = (named or transformers.AutoModel).from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # every part of transformers raises its own
        raise InvalidInput(
            "model", expected="a folder with a model and a tokenizer that transformers reads",
            got=f"{folder}: {_first_line(error)}",
        ) from error  # fmt: skip
    if "input_ids" not in inspect.signature(model.forward).parameters:
        raise InvalidInput(
            "model",
            expected="a model whose forward takes token ids",
            got=f"{type(model).__name__}, which does not",
        )
    return Loaded(model.eval(), tokenizer, frozenset(said["missing_keys"]))


def tokens_of(loaded: Loaded, text: str) -> list[int]:
    """Token ids of a text, without special tokens.

    Raises:
        InvalidInput: the tokenizer gives ids that the model has no embedding for.
    """
    tokens: list[int] = loaded.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)[
        "input_ids"
    ]
    try:
        known = getattr(loaded.model.get_input_embeddings(), "num_embeddings", None)  # type: ignore[operator]
    except (AttributeError, NotImplementedError):  # a model that does not say: its forward will
        known = None
    if known is not None and tokens and max(tokens) >= known:
        raise InvalidInput(
            "model", expected=f"a tokenizer with ids below {known}, as the embedding has rows",
            got=f"the id {max(tokens)}",
        )  # fmt: skip
    return tokens


def forward_of(loaded: Loaded) -> Callable[[list[int]], object]:
    """A function that runs the model on one window of token ids.

    An encoder-decoder reads the window and, shifted by its start token, writes it, as in training.

    Raises (the function):
        InvalidInput: the model does not run on token ids alone, or not on windows of this length.
    """
    model = loaded.model

    def forward(tokens: list[int]) -> object:
        ids = torch.tensor([tokens])
        try:
            return model(input_ids=ids, **written(model, ids))
        except InvalidInput:
            raise
        except Exception as error:  # whatever a model's own code raises
            raise InvalidInput(
                "model", expected=f"a model that runs on windows of {len(tokens)} token ids",
                got=f"{type(model).__name__}: {_first_line(error)}", hint="a smaller --length may do",
            ) from error  # fmt: skip

    return forward


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
