"""The three methods of dynamic least squares behind one protocol: Gram matrix, window, sampling.

A method holds the numbers that are solved with. Which rows are live under which handle, and what was asked
for, is the stream's; a method is told how many rows go and, where it needs them, which.

What does not belong here: the choice between methods (`choice`), handles (`ledger`), the parts that the
methods are made of (`gram`, `window`, `sampling`, `solve`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.config import Config
from stl_algebra.numerics.least_squares.gram import BufferedGram
from stl_algebra.numerics.least_squares.sampling import LeverageSampler, feed
from stl_algebra.numerics.least_squares.solve import Solution, solve_from_gram, solve_from_triangle
from stl_algebra.numerics.least_squares.window import TwoStackQR


class Method(Protocol):
    """What a stream asks of a method.

    Attributes:
        oldest_first: only the oldest rows can be deleted, and their number is enough to do so.
    """

    oldest_first: bool

    @property
    def rows(self) -> int:
        """Live rows."""

    @property
    def kept(self) -> int:
        """Rows that count in the system."""

    def insert(self, a: Tensor, b: Tensor) -> Tensor | None:
        """Add rows a (m, columns) with targets b (m, k); returns [a b], None where no row can be deleted."""

    def delete(self, count: int, rows: Tensor | None, rest: Tensor | None = None) -> None:
        """Take `count` rows away: those of the batch `rows` except what stays of it, `rest`."""

    def solve(self) -> Solution:
        """The solution, x (columns, k) in float64."""

    def residual(self, x: Tensor) -> Tensor:
        """Sums of squared residuals at x (columns, k) float64, (k,) float64."""

    def absorb(self, other: Any) -> None:
        """Add the rows of another one of the same kind and configuration.

        Raises:
            InvalidInput: their rows have no common order.
        """

    def state(self) -> dict[str, Tensor]:
        """Plain tensors from which `restore` continues bit for bit."""

    def restore(self, state: Mapping[str, Tensor], rows: int) -> None:
        """Inverse of `state`."""


class Gram:
    """A compensated Gram matrix; any batch can be deleted again."""

    oldest_first = False

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.gram = BufferedGram(config.width, device, config.row_dtype, config.products, config.forgetting)
        self._rows = 0

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def kept(self) -> int:
        return self._rows

    def insert(self, a: Tensor, b: Tensor) -> Tensor | None:
        rows = torch.cat([a, b], dim=1)
        self._rows += rows.shape[0]
        if self.config.deletions == "none":
            self.gram.defer(rows)
            return None
        # At once and in the shape in which it may be taken away again.
        self.gram.add(rows)
        return rows

    def delete(self, count: int, rows: Tensor | None, rest: Tensor | None = None) -> None:
        assert rows is not None
        self.gram.subtract(rows)
        if rest is not None and rest.shape[0]:
            self.gram.add(rest)
        self._rows -= count

    def solve(self) -> Solution:
        gram, d = self.gram.value(), self.config.d
        ridge = self.config.total_ridge(float(gram.diagonal()[:d].mean()))
        return solve_from_gram(gram, self.config.columns, ridge, self.rows, d)

    def residual(self, x: Tensor) -> Tensor:
        signed = _signed(x)
        return (signed * (self.gram.value() @ signed)).sum(0).clamp(min=0.0)

    def absorb(self, other: Any) -> None:
        if self.config.forgetting < 1:
            got = f"forgetting={self.config.forgetting:g}"
            raise InvalidInput("other", expected="streams whose rows do not fade", got=got)
        self.gram.absorb(other.gram)
        self._rows += other.rows

    def state(self) -> dict[str, Tensor]:
        return self.gram.state()

    def restore(self, state: Mapping[str, Tensor], rows: int) -> None:
        self.gram.restore(state)
        self._rows = rows


class Window:
    """A two-stack queue of R factors; the oldest rows can be deleted."""

    oldest_first = True

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.queue = TwoStackQR(config.width, device)

    @property
    def rows(self) -> int:
        return self.queue.rows

    @property
    def kept(self) -> int:
        return self.queue.rows

    def insert(self, a: Tensor, b: Tensor) -> Tensor | None:
        rows = torch.cat([a, b], dim=1)
        self.queue.push(rows)
        return rows

    def delete(self, count: int, rows: Tensor | None, rest: Tensor | None = None) -> None:
        self.queue.pop(count)

    def solve(self) -> Solution:
        factor, d = self.queue.factor(), self.config.d
        ridge = self.config.total_ridge(float(factor[:, :d].square().sum()) / d)
        return solve_from_triangle(factor, self.config.columns, ridge, self.rows, d)

    def residual(self, x: Tensor) -> Tensor:
        return (self.queue.factor() @ _signed(x)).square().sum(0)

    def absorb(self, other: Any) -> None:
        raise InvalidInput("other", expected="streams without a window", got='deletions="window"')

    def state(self) -> dict[str, Tensor]:
        return self.queue.state()

    def restore(self, state: Mapping[str, Tensor], rows: int) -> None:
        self.queue.restore(state)


class Sampled(Gram):
    """A Gram matrix of the rows that leverage-score sampling keeps; none can be deleted."""

    def __init__(self, config: Config, device: torch.device) -> None:
        super().__init__(config, device)
        assert config.eps is not None
        self.sampler = LeverageSampler(config.columns, config.targets, config.eps, config.seed, device)

    @classmethod
    def after(cls, exact: Gram, device: torch.device) -> Sampled:
        """Goes on from an exact Gram matrix, all of whose rows were kept."""
        out = cls(exact.config, device)
        out.gram = exact.gram
        out.sampler.seen = out.sampler.kept = exact.rows
        out.sampler.renew(out.gram.value())
        return out

    @property
    def rows(self) -> int:
        return self.sampler.seen

    @property
    def kept(self) -> int:
        return self.sampler.kept

    def insert(self, a: Tensor, b: Tensor) -> Tensor | None:
        feed(self.sampler, self.gram, a, b)
        return None

    def absorb(self, other: Any) -> None:
        self.gram.absorb(other.gram)
        self.sampler.seen += other.sampler.seen
        self.sampler.kept += other.sampler.kept
        self.sampler.renew(self.gram.value())

    def state(self) -> dict[str, Tensor]:
        return self.gram.state() | {key: value.clone() for key, value in self.sampler.state().items()}

    def restore(self, state: Mapping[str, Tensor], rows: int) -> None:
        self.gram.restore(state)
        self.sampler.restore(state)


METHODS: dict[str, type[Gram] | type[Window]] = {"gram": Gram, "window-qr": Window, "sampled": Sampled}


def _signed(x: Tensor) -> Tensor:
    """[x; -I], so that [A B] times it is the residual."""
    return torch.cat([x, -torch.eye(x.shape[1], dtype=x.dtype, device=x.device)])
