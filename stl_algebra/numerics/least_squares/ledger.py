"""Which batches of rows are live, under which handle, and whether given rows are the ones that were inserted.

A linear system cannot tell a row that was never inserted from one that was; handles and digests can.

What does not belong here: the numbers that are solved with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Batch:
    """A live batch.

    Attributes:
        count: rows of it that are live.
        digest: of the rows as inserted.
        rows: the live rows [a, b], (count, d + k); None when they are not kept.
        whole: whether no row of it has expired.
    """

    count: int
    digest: bytes
    rows: Tensor | None
    whole: bool = True


def digest(rows: Tensor) -> bytes:
    """BLAKE2b of dtype, shape and bytes; -0.0 and 0.0 differ."""
    state = hashlib.blake2b(f"{rows.dtype}{tuple(rows.shape)}".encode(), digest_size=_DIGEST_BYTES)
    state.update(rows.detach().cpu().contiguous().numpy().data)
    return state.digest()


class RowLedger:
    """Live batches by handle, oldest first. Handles are consecutive integers and never used again."""

    def __init__(self) -> None:
        self.next_handle = 0
        self._live: dict[int, Batch] = {}

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        return iter(self._live.items())

    def __len__(self) -> int:
        return len(self._live)

    def open(self, rows: Tensor, keep: bool) -> int:
        """A new handle for a batch [a, b], (m, d + k), whose rows or else digest are kept."""
        mark = bytes(_DIGEST_BYTES) if keep else digest(rows)
        self._live[self.next_handle] = Batch(rows.shape[0], mark, rows if keep else None)
        return self.issue()

    def issue(self) -> int:
        """A new handle for rows that will never be deleted."""
        self.next_handle += 1
        return self.next_handle - 1

    def get(self, handle: int) -> Batch:
        """The live batch.

        Raises:
            InvalidInput: no insert returned this handle, or its rows were deleted or have expired.
        """
        if isinstance(handle, bool) or not isinstance(handle, int):
            raise InvalidInput("handle", expected="an integer that insert returned", got=handle)
        if handle not in self._live:
            if 0 <= handle < self.next_handle:
                raise InvalidInput("handle", expected="a live handle", got=f"{handle}, deleted or expired")
            raise InvalidInput("handle", expected="a handle that insert returned", got=f"unknown {handle}")
        return self._live[handle]

    def oldest(self) -> tuple[int, Batch]:
        """The oldest live batch; there must be one."""
        return next(iter(self._live.items()))

    def require_oldest(self, handle: int) -> None:
        """Whether a live handle is the oldest.

        Raises:
            InvalidInput: it is not.
        """
        oldest, _ = self.oldest()
        if handle != oldest:
            raise InvalidInput(
                "handle",
                expected=f"the oldest live handle {oldest}",
                got=handle,
                hint='deletions="any" deletes in any order',
            )

    def close(self, handle: int) -> None:
        """Forget a live batch."""
        del self._live[handle]

    def drop_oldest(self, count: int) -> Iterator[tuple[int, Tensor | None, Tensor | None]]:
        """Record that the `count` oldest rows have expired; yields for each batch that loses rows how many,
        its rows, and those that are left of it (None where rows are not kept)."""
        while count:
            handle, batch = self.oldest()
            taken = min(count, batch.count)
            rest = None if batch.rows is None else batch.rows[taken:].clone()
            if taken == batch.count:
                self.close(handle)
            else:
                self._live[handle] = replace(batch, count=batch.count - taken, rows=rest, whole=False)
            yield taken, batch.rows, rest
            count -= taken

    def check_rows(self, handle: int, rows: Tensor) -> None:
        """Whether `rows` are what was inserted under a live handle.

        Raises:
            InvalidInput: they are not, or part of the batch has expired and cannot be compared.
        """
        batch = self.get(handle)
        if not batch.whole:
            raise InvalidInput(
                "rows", expected="no rows: part of the batch has expired", got="rows to compare"
            )
        if digest(rows) != batch.digest:
            raise InvalidInput(
                "rows",
                expected=f"the rows that were inserted under handle {handle}, bit for bit",
                got=f"{rows.shape[0]} rows with another digest",
            )

    def rows_to_delete(self, handle: int, given: Tensor | None) -> Tensor:
        """The rows of a live batch, (count, d + k): those that were kept, or else `given`, checked.

        Raises:
            InvalidInput: none were kept or given, or those given differ from what was inserted.
        """
        kept = self.get(handle).rows
        if kept is None:
            if given is None:
                raise InvalidInput(
                    "a, b", expected="the inserted rows again, because keep_rows is False", got="no rows"
                )
            self.check_rows(handle, given)
            return given
        if given is not None and not (given.shape == kept.shape and torch.equal(given, kept)):
            raise InvalidInput(
                "rows", expected=f"the rows that were inserted under handle {handle}", got="other rows"
            )
        return kept

    def absorb(self, other: RowLedger) -> dict[int, int]:
        """Append another ledger's batches; returns {its handle: handle here}."""
        renamed = {}
        for handle, batch in other:
            renamed[handle] = self.next_handle
            self._live[self.next_handle] = batch
            self.next_handle += 1
        return renamed

    def state(self, width: int, dtype: torch.dtype) -> dict[str, Tensor]:
        """Plain tensors from which `restore` continues."""
        marks = b"".join(batch.digest for _, batch in self)
        kept = [batch.rows.cpu() for _, batch in self if batch.rows is not None]
        return {
            "ledger.next_handle": torch.tensor([self.next_handle]),
            "ledger.batches": torch.tensor(
                [[h, b.count, b.rows is not None, b.whole] for h, b in self], dtype=torch.int64
            ).reshape(-1, 4),
            "ledger.digests": torch.tensor(list(marks), dtype=torch.uint8).reshape(-1, _DIGEST_BYTES),
            "ledger.rows": torch.cat([torch.zeros(0, width, dtype=dtype), *kept]),
        }

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Inverse of `state`."""
        live, offset = {}, 0
        marks = [bytes(mark) for mark in state["ledger.digests"].tolist()]
        for (handle, count, kept, whole), mark in zip(state["ledger.batches"].tolist(), marks, strict=True):
            rows = state["ledger.rows"][offset : offset + count].to(device, copy=True) if kept else None
            offset += count if kept else 0
            live[handle] = Batch(count, mark, rows, bool(whole))
        self._live, self.next_handle = live, int(state["ledger.next_handle"])
