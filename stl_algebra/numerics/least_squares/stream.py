"""Least squares whose rows come and go: the public class.

Keeps argmin |A X - B|^2 + ridge |X|^2 ready to be asked for while rows [a, b] are inserted and deleted. Three
methods (`choice` picks one and says why):

    gram       compensated Gram matrix of [A B]; deletes any batch by its handle; O(d^2) a row
    window-qr  two-stack queue of R factors; deletes oldest first; never subtracts; O(d^2) a row amortised
    sampled    online leverage-score sampling; insertions only; residual norm within 1 + eps; about O(d) a row

Factorising (O(d^3)) waits until `solve` is called. Jiang, Peng, Weinstein (arXiv 2201.00228) show why
not more: with deletions, or for high accuracy, d^(2 - o(1)) an update cannot be beaten if X is wanted after
each one.

What does not belong here: arguments and their checks (`config`), the numbers (`methods`), handles (`ledger`),
files (`journal`), stopping (`stopping`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Unpack

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.choice import ROWS_PER_FEATURE, Choice, choose
from stl_algebra.numerics.least_squares.config import (
    STATE_VERSION,
    Config,
    Settings,
    checked_rows,
    read_meta,
)
from stl_algebra.numerics.least_squares.ledger import RowLedger
from stl_algebra.numerics.least_squares.methods import METHODS, Gram, Method, Sampled
from stl_algebra.numerics.least_squares.solve import Solution


class DynamicLeastSquares:
    """Least squares over rows that come and go.

    Args:
        d: features, columns of A.
        targets: right-hand sides k, columns of B.
        mode: "exact", "sampled" or "auto".
        deletions: "any" (by handle, in any order), "window" (oldest first) or "none".
        eps: accuracy of the sampled mode: the residual norm is within a factor 1 + eps of the best
            (measured on hostile streams, not a proof). Allows "auto" to sample.
        ridge: lambda of lambda |X|^2, in units of squared entries of A.
        relative_ridge: a further ridge, as a share of the mean diagonal entry of A^T A.
        expected_rows: length of the stream, if known; for "auto".
        keep_rows: with deletions="any", keep every live row so that `delete` needs a handle only. False keeps
            a 16-byte digest a batch instead, and `delete` must be given the rows again. Memory: rows *
            (d + k) entries against none; "window" always keeps its window, "none" never keeps rows.
        dtype: of the rows and of the answer, torch.float64 or torch.float32. Accumulation is in float64.
        product_dtype: of the products of rows; torch.float32 is faster on devices that are slow in float64
            and holds up to condition numbers of about 1e4.
        device: where state and rows live.
        seed: of the sampled mode.

    Attributes:
        choice: the method and the reason for it.

    Every error leaves the state as it was. Handles are valid for this object and its saved states.

    Raises:
        InvalidInput: an argument is out of range, or the mode does not allow the deletions.
    """

    def __init__(
        self,
        d: int,
        targets: int = 1,
        *,
        device: torch.device | str = "cpu",
        **settings: Unpack[Settings],
    ) -> None:
        config = Config(d, targets, **settings)
        choice = choose(config.mode, config.deletions, config.eps, d, config.expected_rows)
        self._begin(config, choice, device)

    def _begin(self, config: Config, choice: Choice, device: torch.device | str) -> None:
        self.config, self.choice = config, choice
        # "cuda" becomes "cuda:0", which is what tensors there say.
        self.dtype, self.device = config.row_dtype, torch.empty(0, device=device).device
        self._ledger = RowLedger()
        self._method: Method = METHODS[choice.method](config, self.device)
        self._solution: Solution | None = None

    @property
    def rows(self) -> int:
        """Live rows."""
        return self._method.rows

    @property
    def kept_rows(self) -> int:
        """Rows that count in the system: all live rows, or those that sampling kept."""
        return self._method.kept

    def insert(self, a: Tensor, b: Tensor) -> int:
        """Add rows.

        Args:
            a: (m, d) with m >= 1, of this object's dtype and device, finite.
            b: (m, k), or (m,) when there is one right-hand side.

        Returns:
            The handle of these rows.

        Raises:
            InvalidInput: a shape, dtype or device is wrong, there is no row, or an entry is not finite or
                larger than its square allows.
        """
        a, b = checked_rows(self.config, self.device, a, b)
        self._solution = None
        rows = self._method.insert(a, b)
        if rows is not None:
            return self._ledger.open(rows, self.config.keep_rows)
        if self.choice.may_switch and self.rows >= ROWS_PER_FEATURE * self.config.d:
            self._switch_to_sampling()
        return self._ledger.issue()

    def delete(self, handle: int, a: Tensor | None = None, b: Tensor | None = None) -> None:
        """Take the rows of a handle away again.

        Args:
            handle: what `insert` returned.
            a, b: the rows that were inserted, checked bit for bit; needed only with keep_rows=False.

        Raises:
            InvalidInput: the handle is unknown or was used before, the rows differ from what was inserted or
                are missing, or this object's `deletions` do not allow it. The state is unchanged.
        """
        if self.config.deletions == "none":
            raise InvalidInput(
                "handle",
                expected='an object made with deletions="any" or "window"',
                got=f"deletions={self.config.deletions!r}",
            )
        batch = self._ledger.get(handle)
        if (a is None) != (b is None):
            raise InvalidInput("a, b", expected="both or neither", got="one of them")
        given = rows = None
        if a is not None and b is not None:
            given = torch.cat(checked_rows(self.config, self.device, a, b), dim=1)
        if self._method.oldest_first:
            self._require_oldest(handle)
            if given is not None:
                self._ledger.check_rows(handle, given)
        else:
            rows = self._ledger.rows_to_delete(handle, given)
        self._method.delete(batch.count, rows)
        self._ledger.close(handle)
        self._after_deletion()

    def expire(self, window: int) -> int:
        """Drop the oldest rows until at most `window` are live; returns how many were dropped.

        Raises:
            InvalidInput: window is negative, or the rows are not there to be dropped (deletions="none", or
                keep_rows=False).
        """
        if isinstance(window, bool) or not isinstance(window, int) or window < 0:
            raise InvalidInput("window", expected="a number of rows, at least 0", got=window)
        if not (self._method.oldest_first or self.config.keep_rows):
            raise InvalidInput(
                "window",
                expected='an object made with deletions="window", or "any" with keep_rows',
                got=f"deletions={self.config.deletions!r}, keep_rows={self.config.keep_rows}",
            )
        dropped = surplus = max(self.rows - window, 0)
        while surplus:
            handle, batch = self._ledger.oldest()
            taken = min(surplus, batch.count)
            rest = None if batch.rows is None else batch.rows[taken:].clone()
            self._method.delete(taken, batch.rows, rest)
            if taken == batch.count:
                self._ledger.close(handle)
            else:
                self._ledger.shorten(handle, batch.count - taken, rest)
            surplus -= taken
        if dropped:
            self._after_deletion()
        return dropped

    def solve(self) -> Solution:
        """The solution over the live rows; factorised once after each change. Never fails on dead features,
        too few rows or none: see `Solution.flags`."""
        if self._solution is None:
            found = self._method.solve()
            self._solution = replace(found, x=found.x.to(self.dtype))
        return self._solution

    def residual(self) -> Tensor:
        """Sum of squared residuals of `solve().x`, (k,) float64, without the ridge term.

        From the Gram matrix its absolute error is about eps * |b|^2; from the window's factor it is accurate
        relative to itself; in the sampled mode it is an estimate within about 1 +- 2 eps.
        """
        return self._method.residual(self.solve().x.to(torch.float64))

    def report(self) -> dict[str, Any]:
        """What there is to know, JSON-able: method and reason, rows, rank, condition, flags."""
        solution = self.solve()
        return {
            "method": self.choice.method,
            "reason": self.choice.reason,
            "rows": self.rows,
            "kept_rows": self.kept_rows,
            "rank": solution.rank,
            "condition": solution.condition,
            "ridge": solution.ridge,
            "flags": list(solution.flags),
        }

    def merge(self, other: DynamicLeastSquares) -> dict[int, int]:
        """Take over the rows of a stream that was kept apart; `other` stays as it is.

        Returns:
            {handle of `other`: handle here} of its live batches ({} where there are no deletions).

        Raises:
            InvalidInput: the two differ in more than seed and expected_rows, use different methods, or
            are windows, whose rows have no common order.
        """
        mine, theirs = (replace(c, seed=0, expected_rows=None) for c in (self.config, other.config))
        if other is self or mine != theirs or self.choice.method != other.choice.method:
            raise InvalidInput(
                "other",
                expected=f"another stream with {mine}, {self.choice.method}",
                got=f"{theirs}, {other.choice}",
            )
        self._method.absorb(other._method)
        self._solution = None
        return self._ledger.absorb(other._ledger)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, as plain tensors (safetensors takes them); "meta" is JSON text as bytes.

        A restored object continues bit for bit.
        """
        meta = {
            "version": STATE_VERSION,
            "config": asdict(self.config),
            "choice": asdict(self.choice),
            "rows": self.rows,
        }
        return {
            "meta": torch.tensor(list(json.dumps(meta).encode()), dtype=torch.uint8),
            **self._method.state(),
            **self._ledger.state(self.config.width, self.dtype),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict` of an object with the same arguments.

        Raises:
            InvalidInput: the state is malformed, newer, or of an object with other arguments. Nothing is
            changed.
        """
        config = Config(**read_meta(state)["config"])
        if config != self.config:
            raise InvalidInput("state", expected=f"a state of {self.config}", got=str(config))
        self.__dict__.update(DynamicLeastSquares.from_state_dict(state, self.device).__dict__)

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> DynamicLeastSquares:
        """A new object that continues from a `state_dict`.

        Raises:
            InvalidInput: the state is malformed or newer.
        """
        meta = read_meta(state)
        out = cls.__new__(cls)
        out._begin(Config(**meta["config"]), Choice(**meta["choice"]), device)
        try:
            out._method.restore(state, int(meta["rows"]))
            out._ledger.restore(state, out.device)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise InvalidInput("state", expected="the tensors of state_dict()", got=repr(error)) from error
        return out

    def _require_oldest(self, handle: int) -> None:
        oldest, _ = self._ledger.oldest()
        if handle != oldest:
            raise InvalidInput(
                "handle",
                expected=f"the oldest live handle {oldest}",
                got=handle,
                hint='deletions="any" deletes in any order',
            )

    def _after_deletion(self) -> None:
        self._solution = None
        if self.rows == 0:
            # Nothing is live: drop what rounding left behind.
            self._method = METHODS[self.choice.method](self.config, self.device)

    def _switch_to_sampling(self) -> None:
        assert isinstance(self._method, Gram)
        self._method = Sampled.after(self._method, self.device)
        reason = f"insertion-only, eps={self.config.eps:g}: exact up to row {self.rows}, sampled from there"
        self.choice = Choice("sampled", reason)
