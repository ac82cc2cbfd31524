"""A first-in first-out window of rows with an R factor of whatever is in it, never subtracting anything.

The queue of two stacks: rows arrive in blocks at the back, whose R factor is kept up to date; the oldest rows
leave from the front, where R factors of all suffixes are stored. When the front is empty the back is turned
over: its suffix factors are computed from the raw rows, newest first. Each row goes through two QR steps of
blocks of about d rows, so an update costs O(d^2) amortised, and a row of any size leaves no trace once it
has left.

What does not belong here: solving (`solve`), handles (`ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput


class TwoStackQR:
    """The rows of a sliding window and their R factor.

    Args:
        width: columns of the rows.
        device: where it lives. Everything is float64.

    Attributes:
        rows: number of rows in the window.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.width = width
        self.block = max(width, 32)
        self.device = device
        self.rows = 0
        # Oldest block last, so that the top of the stack is the end of the list. Entry: the block's rows
        # that are left, and R of everything behind it in the front stack.
        self._front: list[tuple[Tensor, Tensor]] = []
        self._back: list[Tensor] = []
        self._back_factor = self._empty()
        self._loose: list[Tensor] = []
        self._loose_rows = 0

    def push(self, rows: Tensor) -> None:
        """Append rows (m, width) as the newest."""
        rows = rows.to(torch.float64)
        self.rows += rows.shape[0]
        self._loose.append(rows)
        self._loose_rows += rows.shape[0]
        if self._loose_rows < self.block:
            return
        pending = torch.cat(self._loose)
        whole = pending.shape[0] - pending.shape[0] % self.block
        for block in torch.split(pending[:whole], self.block):
            self._back.append(block.clone())
            self._back_factor = self._triangle(self._back_factor, block)
        self._loose = [pending[whole:].clone()]
        self._loose_rows = pending.shape[0] - whole

    def pop(self, count: int) -> None:
        """Drop the `count` oldest rows.

        Raises:
            InvalidInput: there are fewer.
        """
        if not 0 <= count <= self.rows:
            raise InvalidInput("count", expected=f"0 to {self.rows} rows", got=count)
        self.rows -= count
        while count:
            if not self._front:
                self._turn_over()
            rows, behind = self._front.pop()
            taken = min(count, rows.shape[0])
            if taken < rows.shape[0]:
                self._front.append((rows[taken:], behind))
            count -= taken

    def factor(self) -> Tensor:
        """R (width, width), upper triangular up to signs of rows, with R^T R = rows^T rows; zero rows at
        the end where there are fewer rows than columns."""
        parts = [self._back_factor, *self._loose]
        if self._front:
            rows, behind = self._front[-1]
            parts = [behind, rows, *parts]
        out = self._triangle(*parts)
        return torch.nn.functional.pad(out, (0, 0, 0, self.width - out.shape[0]))

    def contents(self) -> Tensor:
        """The rows of the window, oldest first, (rows, width)."""
        front = [rows for rows, _ in reversed(self._front)]
        return torch.cat([self._empty(), *front, *self._back, *self._loose])

    def state(self) -> dict[str, Tensor]:
        """Plain tensors from which `restore` continues bit for bit."""
        front = list(reversed(self._front))
        triangles = [self._empty(), *(behind for _, behind in front), self._back_factor]
        return {
            "queue.rows": self.contents(),
            "queue.layout": torch.tensor(
                [len(front), *(rows.shape[0] for rows, _ in front), len(self._back), self._loose_rows]
            ),
            "queue.triangles": torch.cat(triangles),
            "queue.triangle_rows": torch.tensor([t.shape[0] for t in triangles]),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state`."""
        rows = state["queue.rows"].to(self.device, torch.float64)
        depth, *layout = state["queue.layout"].tolist()
        sizes = [*layout[:depth], *[self.block] * layout[depth], layout[depth + 1]]
        if sum(sizes) != rows.shape[0] or rows.shape[1] != self.width:
            raise InvalidInput("queue.layout", expected=f"a layout of {rows.shape[0]} rows", got=sizes)
        pieces = [p.clone() for p in torch.split(rows, sizes)]
        counts = state["queue.triangle_rows"].tolist()
        triangles = [t.clone() for t in torch.split(state["queue.triangles"].to(self.device), counts)]
        self.rows = rows.shape[0]
        self._front = list(zip(pieces[:depth], triangles[1 : depth + 1], strict=True))[::-1]
        self._back = pieces[depth:-1]
        self._back_factor = triangles[-1]
        self._loose, self._loose_rows = [pieces[-1]], pieces[-1].shape[0]

    def _turn_over(self) -> None:
        blocks = [*self._back]
        if self._loose_rows:
            blocks.append(torch.cat(self._loose))
        behind = self._empty()
        for block in reversed(blocks):
            self._front.append((block, behind))
            behind = self._triangle(behind, block)
        self._back, self._loose, self._loose_rows = [], [], 0
        self._back_factor = self._empty()

    def _triangle(self, *parts: Tensor) -> Tensor:
        stacked = torch.cat(parts)
        if stacked.shape[0] == 0:
            return stacked
        factor: Tensor = torch.linalg.qr(stacked, mode="r").R
        return factor

    def _empty(self) -> Tensor:
        return torch.zeros(0, self.width, dtype=torch.float64, device=self.device)
