"""Least squares whose rows come and go: the public class.

Keeps argmin |A X - B|^2 + ridge |X|^2 ready to be asked for while rows [a, b] are inserted and deleted. Three
methods (`choice` picks one and says why):

    gram       compensated Gram matrix of [A B]; deletes any batch by its handle; O(d^2) a row
    window-qr  two-stack queue of R factors; deletes oldest first; never subtracts; O(d^2) a row amortised
    sampled    online leverage-score sampling; insertions only; residual norm within 1 + eps; about O(d) a row

Factorising (O(d^3)) waits until `solve` is called. Jiang, Peng, Weinstein (arXiv 2201.00228) show why
not more: with deletions, or for high accuracy, d^(2 - o(1)) an update cannot be beaten if X is wanted after
each one.

What does not belong here: arguments (`config`) and rows (`rows`) and their checks, the numbers (`methods`),
handles (`ledger`), files (`journal`), stopping (`stopping`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.choice import ROWS_PER_FEATURE, Choice, choose
from stl_algebra.numerics.least_squares.config import Config, Settings
from stl_algebra.numerics.least_squares.ledger import RowLedger
from stl_algebra.numerics.least_squares.methods import METHODS, Gram, Method, Sampled
from stl_algebra.numerics.least_squares.rows import Form, Rows, checked_features, checked_rows
from stl_algebra.numerics.least_squares.solve import Solution
from stl_algebra.numerics.least_squares.state import Meta


class DynamicLeastSquares:
    """Least squares over rows that come and go.

    Args:
        d: features, columns of A.
        targets: right-hand sides k, columns of B.
        mode: "exact", "sampled" or "auto".
        deletions: "any" (by handle, in any order), "window" (oldest first) or "none".
        eps: accuracy of the sampled mode: the residual norm is within a factor 1 + eps of the best
            (measured on hostile streams, not a proof). Allows "auto" to sample.
        ridge: lambda of lambda |X|^2, in units of squared entries of A. It spares the intercept.
        relative_ridge: a further ridge, as a share of the mean diagonal entry of A^T A.
        expected_rows: length of the stream, if known; for "auto".
        keep_rows: with deletions="any", keep every live row so that `delete` needs a handle only. False keeps
            a 16-byte digest a batch instead, and `delete` must be given the rows again. Memory: rows *
            (d + k) entries against none; "window" always keeps its window, "none" never keeps rows.
        dtype: of the rows and of the answer, float64 or float32 of torch or numpy. Sums are in float64.
        product_dtype: of the products of rows; torch.float32 is faster on devices that are slow in float64
            and holds up to condition numbers of about 1e4.
        device: where state and rows live.
        seed: of the sampled mode.
        intercept: fit A X + 1 c^T: a column of ones behind the features, whose coefficients are
            `Solution.intercept`.
        forgetting: each row multiplies the squared errors of all rows before it by this; 0.99 looks back
            about 100 rows. Needs deletions="none", and the Gram matrix.

    Rows are tensors, numpy arrays or what numpy takes for an array; answers come back as what was inserted
    last. `partial_fit` is another name of `insert`; `predict` applies the solution.

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
        self._begin(config, choose(config), device, Form())

    def _begin(self, config: Config, choice: Choice, device: torch.device | str, form: Form) -> None:
        self.config, self.choice, self._form = config, choice, form
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
        """Rows that count in the system, which are all live rows or those that sampling kept."""
        return self._method.kept

    def insert(self, a: Rows, b: Rows) -> int:
        """Add rows.

        Args:
            a: (m, d) with m >= 1, finite; or one row (d,). A tensor must have this object's dtype and device;
                an array is converted where that loses nothing.
            b: (m, k), or (m,) when there is one right-hand side; for one row (k,) or a number.

        Returns:
            The handle of these rows.

        Raises:
            InvalidInput: a shape, dtype or device is wrong, one is a tensor and the other an array, there is
                no row, or an entry is not finite or larger than its square allows.
        """
        a, b, self._form = checked_rows(self.config, self.device, a, b)
        self._solution = None
        rows = self._method.insert(a, b)
        if rows is not None:
            return self._ledger.open(rows, self.config.keep_rows)
        if self.choice.may_switch and self.rows >= ROWS_PER_FEATURE * self.config.d:
            self._switch_to_sampling()
        return self._ledger.issue()

    def partial_fit(self, a: Rows, b: Rows) -> Self:
        """`insert`, returning this object."""
        self.insert(a, b)
        return self

    def delete(self, handle: int, a: Rows | None = None, b: Rows | None = None) -> None:
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
            given = torch.cat(checked_rows(self.config, self.device, a, b)[:2], dim=1)
        if self._method.oldest_first:
            self._ledger.require_oldest(handle)
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
        dropped = max(self.rows - window, 0)
        for count, rows, rest in self._ledger.drop_oldest(dropped):
            self._method.delete(count, rows, rest)
        if dropped:
            self._after_deletion()
        return dropped

    def solve(self) -> Solution:
        """The solution over the live rows; factorised once after each change. Never fails on dead features,
        too few rows or none: see `Solution.flags`."""
        found, d = self._solved(), self.config.d
        x, intercept = found.x, None
        if self.config.intercept:
            x, intercept = x[:d], self._form.give(x[d])
        return replace(found, x=self._form.give(x), intercept=intercept)

    def predict(self, a: Rows) -> Any:
        """The fitted targets of rows, with the intercept.

        Args:
            a: (m, d), or one row (d,); as for `insert`.

        Returns:
            (m, k), a tensor or an array as `a` is. Without the first axis for one row, without the last
            where the targets that were inserted last had none.

        Raises:
            InvalidInput: a shape, dtype or device is wrong, or an entry is not finite.
        """
        rows, single, numpy = checked_features(self.config, self.device, a)
        out = rows @ self._solved().x
        out = out[:, 0] if self._form.flat else out
        return Form(numpy).give(out[0] if single else out)

    def residual(self) -> Any:
        """Sum of squared residuals of `solve().x`, (k,) float64, without the ridge term; rows count with
        their weights where they fade.

        From the Gram matrix its absolute error is about eps * |b|^2; from the window's factor it is accurate
        relative to itself; in the sampled mode it is an estimate within about 1 +- 2 eps.
        """
        return self._form.give(self._method.residual(self._solved().x.to(torch.float64)))

    def _solved(self) -> Solution:
        """The solution as tensors, the intercept as the last row of x."""
        if self._solution is None:
            found = self._method.solve()
            self._solution = replace(found, x=found.x.to(self.dtype))
        return self._solution

    def report(self) -> dict[str, Any]:
        """What there is to know, JSON-able: method and reason, rows, rank, condition (None where it is
        infinite), flags."""
        solution = self._solved()
        return {
            "method": self.choice.method,
            "reason": self.choice.reason,
            "rows": self.rows,
            "kept_rows": self.kept_rows,
            "rank": solution.rank,
            "condition": solution.condition if math.isfinite(solution.condition) else None,
            "ridge": solution.ridge,
            "flags": list(solution.flags),
        }

    def merge(self, other: DynamicLeastSquares) -> dict[int, int]:
        """Take over the rows of a stream that was kept apart; `other` stays as it is.

        Returns:
            {handle of `other`: handle here} of its live batches ({} where there are no deletions).

        Raises:
            InvalidInput: the two differ in more than seed and expected_rows, use different methods, or
                are windows or forget, so that their rows would need a common order.
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
        return {
            "meta": Meta(self.config, self.choice, self.rows, self._form).tensor(),
            **self._method.state(),
            **self._ledger.state(self.config.width, self.dtype),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict` of an object with the same arguments.

        Raises:
            InvalidInput: the state is malformed, newer, or of an object with other arguments. Nothing is
                changed.
        """
        config = Meta.read(state).config
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
        meta = Meta.read(state)
        out = cls.__new__(cls)
        out._begin(meta.config, meta.choice, device, meta.form)
        try:
            out._method.restore(state, meta.rows)
            out._ledger.restore(state, out.device)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise InvalidInput("state", expected="the tensors of state_dict()", got=repr(error)) from error
        return out

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
