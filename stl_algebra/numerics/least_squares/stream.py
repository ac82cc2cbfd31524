"""Least squares whose rows come and go: the public class.

Keeps argmin |A X - B|^2 + ridge |X|^2 ready to be asked for while rows [a, b] are inserted and deleted. Three
methods (`least_squares_choice` picks one and says why):

    gram       compensated Gram matrix of [A B]; deletes any batch by its handle; O(d^2) a row
    window-qr  two-stack queue of R factors; deletes oldest first; never subtracts; O(d^2) a row amortised
    sampled    online leverage-score sampling; insertions only; residual norm within 1 + eps; about O(d) a row

Factorising (O(d^3)) waits until `solve` is called. Jiang, Peng, Weinstein (arXiv 2201.00228) show why
not more: with deletions, or for high accuracy, d^(2 - o(1)) an update cannot be beaten if X is wanted after
each one.

What does not belong here: arguments and their checks (`least_squares_config`), the parts (`compensated`,
`two_stack_qr`, `leverage`, `row_ledger`, `normal_solve`), files (`least_squares_file`), stopping
(`held_out`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.choice import ROWS_PER_FEATURE, Choice, choose
from stl_algebra.numerics.least_squares.config import (
    STATE_VERSION,
    Config,
    checked_rows,
    make_config,
    read_meta,
)
from stl_algebra.numerics.least_squares.gram import BufferedGram
from stl_algebra.numerics.least_squares.ledger import RowLedger, digest
from stl_algebra.numerics.least_squares.sampling import LeverageSampler, feed
from stl_algebra.numerics.least_squares.solve import Solution, solve_from_gram, solve_from_triangle
from stl_algebra.numerics.least_squares.window import TwoStackQR


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
        mode: str = "auto",
        deletions: str = "any",
        eps: float | None = None,
        ridge: float = 0.0,
        relative_ridge: float = 0.0,
        expected_rows: int | None = None,
        keep_rows: bool = True,
        dtype: torch.dtype = torch.float64,
        product_dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.config = make_config(
            d=d,
            targets=targets,
            mode=mode,
            deletions=deletions,
            eps=eps,
            ridge=ridge,
            relative_ridge=relative_ridge,
            expected_rows=expected_rows,
            keep_rows=keep_rows,
            dtype=dtype,
            product_dtype=product_dtype,
            seed=seed,
        )
        self.choice = choose(mode, deletions, eps, d, expected_rows)
        self.dtype = dtype
        self.device = torch.device(device)
        self._start()

    def _start(self) -> None:
        width = self.config.d + self.config.targets
        product = getattr(torch, self.config.product_dtype)
        self._gram = BufferedGram(width, self.device, self.dtype, product)
        self._queue = TwoStackQR(width, self.device) if self.choice.method == "window-qr" else None
        self._sampler = self._new_sampler() if self.choice.method == "sampled" else None
        self._ledger = RowLedger()
        self._rows = 0
        self._solution: Solution | None = None

    def _new_sampler(self) -> LeverageSampler:
        assert self.config.eps is not None
        return LeverageSampler(
            self.config.d, self.config.targets, self.config.eps, self.config.seed, self.device
        )

    @property
    def rows(self) -> int:
        """Live rows."""
        return self._rows

    @property
    def kept_rows(self) -> int:
        """Rows that count in the system: all live rows, or those that sampling kept."""
        return self._sampler.kept if self._sampler else self._rows

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
        self._rows += a.shape[0]
        if self._sampler is not None:
            feed(self._sampler, self._gram, a, b)
            return self._issue()
        if self._queue is not None:
            rows = torch.cat([a, b], dim=1)
            self._queue.push(rows)
            return self._ledger.open(a.shape[0], digest(rows), None)
        if self.config.deletions == "any":
            rows = torch.cat([a, b], dim=1)
            self._gram.add(rows)
            mark = b"\0" * 16 if self.config.keep_rows else digest(rows)
            return self._ledger.open(a.shape[0], mark, rows if self.config.keep_rows else None)
        self._gram.defer(torch.cat([a, b], dim=1))
        if self.choice.may_switch and self._rows >= ROWS_PER_FEATURE * self.config.d:
            self._switch_to_sampling()
        return self._issue()

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
        given = (
            torch.cat(checked_rows(self.config, self.device, a, b), dim=1)
            if a is not None and b is not None
            else None
        )
        if self._queue is not None:
            oldest, _ = self._ledger.oldest()
            if handle != oldest:
                raise InvalidInput(
                    "handle",
                    expected=f"the oldest live handle {oldest}",
                    got=handle,
                    hint='deletions="any" deletes in any order',
                )
            if given is not None:
                self._ledger.check_rows(handle, given)
            self._queue.pop(batch.count)
        else:
            self._gram.subtract(self._ledger.rows_to_delete(handle, given))
        self._ledger.close(handle)
        self._rows -= batch.count
        self._solution = None
        if self._rows == 0:
            self._clear()

    def expire(self, window: int) -> int:
        """Drop the oldest rows until at most `window` are live; returns how many were dropped.

        Raises:
            InvalidInput: window is negative, or the rows are not there to be dropped (deletions="none", or
                keep_rows=False).
        """
        if isinstance(window, bool) or not isinstance(window, int) or window < 0:
            raise InvalidInput("window", expected="a number of rows, at least 0", got=window)
        if self._queue is None and not self.config.keep_rows:
            raise InvalidInput(
                "window",
                expected='an object made with deletions="window", or "any" with keep_rows',
                got=f"deletions={self.config.deletions!r}, keep_rows={self.config.keep_rows}",
            )
        dropped = surplus = max(self._rows - window, 0)
        if not dropped:
            return 0
        if self._queue is not None:
            self._queue.pop(surplus)
        while surplus:
            handle, batch = self._ledger.oldest()
            taken = min(surplus, batch.count)
            rest = None
            if batch.rows is not None:
                rest = batch.rows[taken:].clone()
                self._gram.subtract(batch.rows)
                if rest.shape[0]:
                    self._gram.add(rest)
            if taken == batch.count:
                self._ledger.close(handle)
            else:
                self._ledger.shorten(handle, batch.count - taken, rest)
            surplus -= taken
        self._rows -= dropped
        self._solution = None
        if self._rows == 0:
            self._clear()
        return dropped

    def solve(self) -> Solution:
        """The solution over the live rows; factorised once after each change. Never fails on dead features,
        too few rows or none: see `Solution.flags`."""
        if self._solution is None:
            d = self.config.d
            if self._queue is not None:
                factor = self._queue.factor()
                energy = factor[:, :d].square().sum()
                found = solve_from_triangle(factor, d, self._ridge(float(energy) / d), self._rows)
            else:
                gram = self._gram.value()
                mean = float(gram.diagonal()[:d].mean())
                found = solve_from_gram(gram, d, self._ridge(mean), self._rows)
            self._solution = replace(found, x=found.x.to(self.dtype))
        return self._solution

    def residual(self) -> Tensor:
        """Sum of squared residuals of `solve().x`, (k,) float64, without the ridge term.

        From the Gram matrix its absolute error is about eps * |b|^2; from the window's factor it is accurate
        relative to itself; in the sampled mode it is an estimate within about 1 +- 2 eps.
        """
        x = self.solve().x.to(torch.float64)
        signed = torch.cat([x, -torch.eye(self.config.targets, dtype=torch.float64, device=self.device)])
        if self._queue is not None:
            return (self._queue.factor() @ signed).square().sum(0)
        return (signed * (self._gram.value() @ signed)).sum(0).clamp(min=0.0)

    def report(self) -> dict[str, Any]:
        """What there is to know, JSON-able: method and reason, rows, rank, condition, flags."""
        solution = self.solve()
        return {
            "method": self.choice.method,
            "reason": self.choice.reason,
            "rows": self._rows,
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
        if self._queue is not None:
            raise InvalidInput("other", expected="streams without a window", got='deletions="window"')
        self._gram.absorb(other._gram)
        self._rows += other._rows
        self._solution = None
        if self._sampler is not None and other._sampler is not None:
            self._sampler.seen += other._sampler.seen
            self._sampler.kept += other._sampler.kept
            self._sampler.renew(self._gram.value())
        return self._ledger.absorb(other._ledger)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, as plain tensors (safetensors takes them); "meta" is JSON text as bytes.

        A restored object continues bit for bit.
        """
        meta = {
            "version": STATE_VERSION,
            "config": asdict(self.config),
            "choice": asdict(self.choice),
            "rows": self._rows,
        }
        width = self.config.d + self.config.targets
        out = {
            "meta": torch.tensor(list(json.dumps(meta).encode()), dtype=torch.uint8),
        }
        out |= self._gram.state()
        out |= self._ledger.state(width, self.dtype)
        if self._queue is not None:
            out |= self._queue.state()
        if self._sampler is not None:
            out |= {key: value.clone() for key, value in self._sampler.state().items()}
        return out

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict` of an object with the same arguments.

        Raises:
            InvalidInput: the state is malformed, newer, or of an object with other arguments. Nothing is
            changed.
        """
        meta = read_meta(state)
        if Config(**meta["config"]) != self.config:
            raise InvalidInput("state", expected=f"a state of {self.config}", got=str(meta["config"]))
        fresh = DynamicLeastSquares.__new__(DynamicLeastSquares)
        fresh.config, fresh.dtype, fresh.device = self.config, self.dtype, self.device
        fresh.choice = Choice(**meta["choice"])
        try:
            fresh._start()
            fresh._restore(state, int(meta["rows"]))
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise InvalidInput("state", expected="the tensors of state_dict()", got=repr(error)) from error
        self.__dict__.update(fresh.__dict__)

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> DynamicLeastSquares:
        """A new object that continues from a `state_dict`.

        Raises:
            InvalidInput: the state is malformed or newer.
        """
        config = dict(read_meta(state)["config"])
        for key in ("dtype", "product_dtype"):
            config[key] = getattr(torch, config[key])
        out = cls(**config, device=device)
        out.load_state_dict(state)
        return out

    def _restore(self, state: Mapping[str, Tensor], rows: int) -> None:
        self._gram.restore(state)
        self._ledger.restore(state, self.device)
        if self._queue is not None:
            self._queue.restore(state)
        if self._sampler is not None:
            self._sampler.restore(state)
        self._rows = rows

    def _issue(self) -> int:
        handle = self._ledger.next_handle
        self._ledger.next_handle += 1
        return handle

    def _switch_to_sampling(self) -> None:
        sampler = self._new_sampler()
        sampler.seen = sampler.kept = self._rows
        sampler.renew(self._gram.value())
        self._sampler = sampler
        reason = f"insertion-only, eps={self.config.eps:g}: exact up to row {self._rows}, sampled from there"
        self.choice = Choice("sampled", reason)

    def _ridge(self, mean_diagonal: float) -> float:
        return self.config.ridge + self.config.relative_ridge * mean_diagonal

    def _clear(self) -> None:
        # Nothing is live: drop what rounding left behind.
        handles = self._ledger.next_handle
        self._start()
        self._ledger.next_handle = handles
