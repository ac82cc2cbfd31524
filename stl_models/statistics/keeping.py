"""Where hidden states and moments wait until they are needed: in memory, or in files where the model is.

What does not belong here: computing them (`streams`, `sensitivity`).
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stl_algebra.errors import Unavailable
from stl_models.structure.residence import Lazy, residence_of


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's numbers as they lie in memory; without a copy where it is contiguous and on the CPU."""
    whole = tensor.detach().cpu().contiguous()
    return whole.reshape(-1).view(torch.uint8).numpy().data


class Keep:
    """In memory."""

    def put(self, tensor: Tensor) -> Lazy:
        """Keep a tensor as long as the answer lives."""
        return Lazy.of(tensor.detach())

    def states(self, items: Iterable[Any] = ()) -> States:
        """A list of tensors; what is no tensor stays as it is."""
        return States(self, items)


class FileKeep(Keep):
    """In files, one a tensor, of which one is in memory at a time.

    Args:
        folder: made where it does not exist; the files go when nobody asks for them any more.
    """

    _numbers = itertools.count()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, tensor: Tensor) -> Lazy:
        """Write a tensor.

        Raises:
            Unavailable: the disk is full, or the folder cannot be written.
        """
        shape, dtype = tuple(tensor.shape), tensor.dtype
        path = self.folder / f"{next(self._numbers):09d}.bin"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes_of(tensor))
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise Unavailable(f"cannot write {path}: {error.strerror or error}") from error

        def read() -> Tensor:
            values = torch.from_numpy(np.fromfile(path, dtype=np.uint8))
            return values.view(dtype).reshape(shape)

        kept = Lazy(shape, dtype, read)
        weakref.finalize(kept, path.unlink, missing_ok=True)
        return kept


class States(Sequence[Any]):
    """Tensors that are read as they are asked for.

    Args:
        keep: where they wait.
        items: the first ones.
    """

    def __init__(self, keep: Keep, items: Iterable[Any] = ()) -> None:
        self._keep = keep
        self._items: list[Any] = []
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        """One more."""
        self._items.append(self._kept(item))

    def _kept(self, item: Any) -> Any:
        return self._keep.put(item) if isinstance(item, Tensor) else item

    def __setitem__(self, index: int, item: Any) -> None:
        self._items[index] = self._kept(item)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = self._items[index]
        return found.read() if isinstance(found, Lazy) else found

    def __len__(self) -> int:
        return len(self._items)


def keep_for(model: nn.Module) -> Keep:
    """Where what belongs to a model waits."""
    found = residence_of(model)
    return Keep() if found is None else FileKeep(found.scratch)
