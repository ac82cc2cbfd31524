"""How good a converted model is beside the dense one: perplexity where tokens are predicted, else a cosine.

Structure decides which: a model whose earlier logits do not depend on later tokens predicts tokens. What does
not belong here: choosing what to convert (`planning`), errors of single layers (`statistics.moments`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_models.statistics.streams import output_tensor
from stl_models.structure.tracing import at_rest, run_model

#: Windows that a model is called with at a time.
_TOGETHER = 4


@dataclass(frozen=True, eq=False)
class Metric:
    """A figure of a whole model.

    Attributes:
        name: "perplexity" or "cosine with the dense model".
        lower_is_better: whether it is.
        of: a model to its figure.
    """

    name: str
    lower_is_better: bool
    of: Callable[[nn.Module], float]


def metric_for(dense: nn.Module, windows: Tensor) -> Metric:
    """The figure that suits a model.

    Args:
        dense: not changed.
        windows: (n, length) token ids of held-out text, at least 3 tokens each.

    Raises:
        InvalidInput: no window, or too short ones.
    """
    if windows.dim() != 2 or not windows.shape[0] or windows.shape[1] < 3:
        raise InvalidInput(
            "evaluation", expected="windows of at least 3 tokens", got=f"shape {tuple(windows.shape)}"
        )
    if predicts_tokens(dense, windows):
        return Metric("perplexity", True, lambda model: perplexity(model, windows))
    wanted = pooled_states(dense, windows)

    def cosine(model: nn.Module) -> float:
        return float((pooled_states(model, windows) * wanted).sum(1).mean())

    return Metric("cosine with the dense model", False, cosine)


def predicts_tokens(model: nn.Module, windows: Tensor) -> bool:
    """Whether the output is logits, and changing the last token leaves those before it as they are."""
    window = windows[:1]
    other = window.clone()
    other[0, -1] = windows[0, 0] if windows[0, 0] != windows[0, -1] else (windows[0, -1] + 1) % 2
    with at_rest(model):
        output = run_model(model, {"input_ids": window})
        if not isinstance(getattr(output, "logits", None), Tensor):
            return False
        logits, changed = output.logits, output_tensor(run_model(model, {"input_ids": other}))
    by_token = logits.dim() == 3 and logits.shape[1] == window.shape[1]
    return by_token and torch.equal(logits[:, :-1], changed[:, :-1])


def perplexity(model: nn.Module, windows: Tensor) -> float:
    """exp of the mean negative log-likelihood of tokens 2 to the last, each window (n, length) on its own."""
    total = 0.0
    with at_rest(model):
        for part in torch.split(windows, _TOGETHER):
            logits = run_model(model, {"input_ids": part}).logits[:, :-1].float()
            targets = part[:, 1:].flatten()
            total += float(nn.functional.cross_entropy(logits.flatten(0, 1), targets, reduction="sum"))
    return float(torch.tensor(total / windows[:, 1:].numel(), dtype=torch.float64).exp())


def pooled_states(model: nn.Module, windows: Tensor) -> Tensor:
    """Unit vectors (n, d) in float64: the mean of the last states, or the logits, of a window's tokens."""
    found = []
    with at_rest(model):
        for part in torch.split(windows, _TOGETHER):
            states = output_tensor(run_model(model, {"input_ids": part})).double()
            found.append(states.mean(1) if states.dim() == 3 else states)
    return nn.functional.normalize(torch.cat(found), dim=-1)


def spread(windows: Sequence[Tensor], count: int) -> Tensor:
    """`count` of the windows (n, length), or all where there are fewer, spread evenly over the text."""
    whole = torch.cat(list(windows))
    places = torch.linspace(0, len(whole) - 1, min(count, len(whole))).round().long()
    return whole[places]
