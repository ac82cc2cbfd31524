"""Recording what linear layers read while a model runs: few rows, and the moments of many.

Layers that read the same tensor (query, key and value) are one group: their rows and moments are kept once.
Inputs are copied when the layer is called, so that a later change in place does not reach them.

What does not belong here: which model, text and layers (`activations`), the file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stl_algebra.numerics.moments import MomentSum
from stl_algebra.progress import Progress
from stl_kernels.layers.dense import sizes_of


class Sample:
    """A uniform sample of at most `limit` rows, in random order: those of the smallest random keys."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seen = 0
        self.rows: Tensor | None = None
        self._keys = np.empty(0)

    def add(self, rows: Tensor, keys: NDArray[np.float64]) -> None:
        """Offer rows (L, K) with a key each."""
        self.seen += len(rows)
        self._keys = np.concatenate([self._keys, keys])
        rows = rows if self.rows is None else torch.cat([self.rows, rows])
        kept = np.argsort(self._keys, kind="stable")[: self.limit]
        self._keys, self.rows = self._keys[kept], rows[torch.from_numpy(kept)]


@dataclass(eq=False)
class Group:
    """Layers that read the same input.

    Attributes:
        names: of the layers.
        calibration, test: rows of the two parts of the text.
        moments: of every row of the calibration part.
        calls: of one layer, in all windows.
        trouble: why its rows cannot be used, "" if they can.
    """

    names: list[str]
    calibration: Sample
    test: Sample
    moments: MomentSum
    calls: int = 0
    trouble: str = ""

    def split(self, names: list[str]) -> Group:
        """A group with this one's past for some of its layers, which leave it."""
        self.names = [n for n in self.names if n not in names]
        return Group(
            names, *copy.deepcopy((self.calibration, self.test, self.moments)), self.calls, self.trouble
        )


@dataclass(eq=False)
class _Window:
    """The distinct inputs of one window, and which of them each layer read, in order."""

    rows: list[Tensor] = field(default_factory=list)
    found: dict[tuple[Any, ...], int] = field(default_factory=dict)
    held: list[Tensor] = field(default_factory=list)
    calls: dict[str, list[int]] = field(default_factory=dict)

    def note(self, name: str, x: Tensor) -> None:
        # Holding the tensor keeps its memory from being given to another one within the window.
        key = (x.data_ptr(), x.shape, x.stride(), x.dtype, x._version)
        if key not in self.found:
            self.found[key] = len(self.rows)
            self.held.append(x)
            self.rows.append(x.detach().reshape(-1, x.shape[-1]).to(torch.float32, copy=True))
        self.calls.setdefault(name, []).append(self.found[key])


def record(
    layers: Mapping[str, nn.Module],
    windows: Sequence[tuple[list[int], bool]],
    forward: Callable[[list[int]], object],
    *,
    rows: int,
    seed: int,
    progress: Progress | None = None,
) -> list[Group]:
    """Run the windows and gather the inputs of the layers.

    Args:
        layers: linear layers by name.
        windows: token ids, and whether the window is a test window.
        forward: runs the model on token ids.
        rows: to keep of each part.
        seed: of the choice of rows; layers called equally often keep the same positions.
        progress: called per window.
    """
    groups: list[Group] = []
    window = _Window()

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
            if x is not None:
                window.note(name, x)

        return note

    handles = [m.register_forward_pre_hook(hook(n), with_kwargs=True) for n, m in layers.items()]
    try:
        with torch.no_grad():
            for number, (tokens, is_test) in enumerate(windows):
                window = _Window()
                forward(tokens)
                _regroup(groups, window, {n: sizes_of(m)[0] for n, m in layers.items()}, rows)
                for group in groups:
                    _take(group, window, is_test, [seed, number])
                if progress:
                    progress("windows", number + 1, len(windows))
    finally:
        for handle in handles:
            handle.remove()
    return groups


def _regroup(groups: list[Group], window: _Window, widths: Mapping[str, int], rows: int) -> None:
    """New groups for layers seen first, and where layers of one group read different inputs this time."""
    known = {name for group in groups for name in group.names}
    fresh: dict[tuple[int, ...], list[str]] = {}
    for name, calls in window.calls.items():
        if name not in known:
            fresh.setdefault((*calls, -widths[name]), []).append(name)
    for group in list(groups):
        parts: dict[tuple[int, ...], list[str]] = {}
        for name in group.names:
            parts.setdefault(tuple(window.calls.get(name, ())), []).append(name)
        groups.extend(group.split(names) for names in list(parts.values())[1:])
    for names in fresh.values():
        width = widths[names[0]]
        groups.append(Group(names, Sample(rows), Sample(rows), MomentSum(width)))


def _take(group: Group, window: _Window, is_test: bool, seed: list[int]) -> None:
    calls = window.calls.get(group.names[0], [])
    if not calls or group.trouble:
        return
    parts = [window.rows[i] for i in calls]
    if any(part.shape[1] != group.moments.size for part in parts):
        group.trouble = "it is called with another number of features than its weights have"
        return
    x = torch.cat(parts)
    if not bool(torch.isfinite(x).all()):
        group.trouble = "its input holds NaN or an infinity"
        return
    group.calls += len(calls)
    keys = np.random.default_rng(seed).random(len(x))
    (group.test if is_test else group.calibration).add(x, keys)
    if not is_test:
        group.moments.add(x.double().numpy())
