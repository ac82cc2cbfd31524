"""From a text file to calibration batches, with a transformers tokenizer; nothing is downloaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from stl_algebra.errors import InvalidInput


def read_text(path: str | Path) -> str:
    """A UTF-8 text file.

    Raises:
        InvalidInput: no such file, or nothing but white space.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput("text", expected="an existing text file", got=str(path))
    # Windows marks UTF-8 at its start; that mark is no part of the text.
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    # A few broken characters are no harm; another encoding or a binary file is no text to calibrate on.
    if 100 * (text.count("\ufffd") + text.count("\0")) > len(text):
        raise InvalidInput(
            "text", expected="a text in UTF-8", got=f"{path}, which is not", hint="save it as UTF-8"
        )
    if not text.strip():
        raise InvalidInput("text", expected="a text", got=f"an empty file, {path}")
    return text


def plain_text(tokenised: str) -> str:
    """Text whose tokens stood apart, as it is usually written; sentences with <unk> are left out."""
    lines = []
    for line in tokenised.splitlines():
        sentences = re.split(r"(?<= [.?!]) ", f" {line.strip()}")
        lines.append(" ".join(s.strip() for s in sentences if "<unk>" not in s))
    text = "\n".join(line for line in lines if line)
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r" ([,.;:?!%)\]])", r"\1", text)
    text = re.sub(r"([(\[$]) ", r"\1", text)
    text = re.sub(r" ('s|n't|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    return re.sub(r'" ([^"\n]*?) "', r'"\1"', text)


def token_batches(
    tokenizer: Any, text: str, *, length: int = 128, rows: int = 0, batch: int = 8
) -> list[dict[str, torch.Tensor]]:
    """Windows of consecutive tokens with special tokens around each: {"input_ids": (batch, length)}.

    Args:
        tokenizer: of transformers.
        text: as read.
        length: tokens a window, special ones included.
        rows: about this many tokens, in windows spread evenly over the text; 0 for the whole text.
        batch: windows a batch; the last one may have fewer.

    Raises:
        InvalidInput: the text is shorter than one window, or is one word over and over.
    """
    before, after = special_tokens(tokenizer)
    inside = length - len(before) - len(after)
    if inside < 1:
        raise InvalidInput("length", expected=f"more than {len(before) + len(after)} tokens", got=length)
    # Far more characters than tokens are wanted; tokenising a library would take minutes.
    part = text if not rows else text[: 256 * rows + 4096]
    tokens = tokenizer(part, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    count = len(tokens) // inside
    wanted = min(count, -(-rows // length)) if rows else count
    if count < 1:
        raise InvalidInput("text", expected=f"at least {inside} tokens", got=f"{len(tokens)} tokens")
    words = part.split()
    # A word may be several tokens; where there are no spaces, the whole text is one word.
    if len(set(tokens)) < 2 or (len(words) > 1 and len(set(words)) < 2):
        raise InvalidInput("text", expected="different words", got="one word over and over")
    chosen = [i * count // wanted for i in range(wanted)]
    windows = [[*before, *tokens[i * inside : (i + 1) * inside], *after] for i in chosen]
    ids = torch.tensor(windows)
    return [{"input_ids": part} for part in torch.split(ids, batch)]


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []
