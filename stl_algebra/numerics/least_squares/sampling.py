"""Online leverage-score sampling: which rows of a stream to keep, decided once, as each row arrives.

After Jiang, Peng, Weinstein, "The Complexity of Dynamic Least-Squares Regression" (arXiv 2201.00228): row
[a, b] is kept with probability p = min(1, c tau), reweighted by 1 / sqrt(p). tau adds two parts, the leverage
of a against the rows kept so far, sketched by a few Gaussian columns, and the squared residual of b
against the current solution relative to the residual sum of squares:

    tau = |a^T R^-1 G|^2 + max over right-hand sides of (b - x^T a)^2 / RSS,     R^T R = Gram matrix of
    kept rows

The residual part is essential: without it a stream whose targets change where leverage is small is lost. A
reference (R, x, RSS) that is out of date only overestimates tau, so it is renewed when the stream or the kept
rows have grown by a factor, which costs O(d^3) a logarithmic number of times.

What does not belong here: how the kept rows are summed (`gram`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stl_algebra.numerics.least_squares.gram import BufferedGram

_GROWTH = 1.3
_EPS = torch.finfo(torch.float64).eps


def oversampling(d: int, eps: float) -> float:
    """c = max(ln(d) / 2, 1 / (2 eps)): residual norm within 1 + eps, measured and not proved."""
    return max(math.log(max(d, 2)) / 2, 1 / (2 * eps))


class LeverageSampler:
    """Decides row by row what to keep.

    Args:
        d: features.
        targets: right-hand sides k.
        eps: the allowed excess of the residual norm.
        seed: of its own random numbers.
        device: of the rows.
        columns: Gaussian columns of the leverage sketch.
        residual_term: False leaves the residual part out: unsafe, for experiments that show why.
    """

    def __init__(
        self,
        d: int,
        targets: int,
        eps: float,
        seed: int,
        device: torch.device,
        columns: int = 16,
        residual_term: bool = True,
    ) -> None:
        self.d, self.targets, self.columns, self.device = d, targets, columns, device
        self.c = oversampling(d, eps)
        self.residual_term = residual_term
        self.generator = torch.Generator().manual_seed(seed)
        self.seen = 0
        self.kept = 0
        self.renewed_at = 0
        self.kept_at_renewal = 0
        # The whitening sketch R^-1 G and -x side by side, so that one product scores a batch.
        self.whitening = torch.zeros(d, columns, dtype=torch.float64, device=device)
        self.x = torch.zeros(d, targets, dtype=torch.float64, device=device)
        self.rss = torch.zeros(targets, dtype=torch.float64, device=device)
        self.dead = torch.ones(d, dtype=torch.bool, device=device)

    @property
    def ready(self) -> bool:
        """Whether there is a reference; until then every row is kept."""
        return self.renewed_at > 0

    def next_limit(self) -> int:
        """Rows that may be scored before the reference must be looked at again."""
        if not self.ready:
            return max(2 * self.d - self.seen, 1)
        return max(int(self.renewed_at * _GROWTH) - self.seen, 1)

    def wants_renewal(self) -> bool:
        """Whether the stream or the kept rows have outgrown the reference."""
        if not self.ready:
            return self.seen >= 2 * self.d
        fresh = self.kept - self.kept_at_renewal
        return self.seen >= int(self.renewed_at * _GROWTH) or fresh >= max(
            2 * self.d, 0.3 * self.kept_at_renewal
        )

    def renew(self, gram: Tensor) -> None:
        """Take a new reference from the (d + k, d + k) Gram matrix of the kept rows; draw a fresh sketch."""
        d = self.d
        h, g = gram[:d, :d], gram[:d, d:]
        diagonal = h.diagonal()
        self.dead = diagonal <= 0
        scale = torch.where(self.dead, torch.ones_like(diagonal), diagonal.clamp(min=1e-300).sqrt())
        scaled = h / (scale.unsqueeze(1) * scale)
        # Small enough that a row outside the span of the kept rows scores above 1, large enough to factorise.
        lift = d * _EPS
        while True:
            root, info = torch.linalg.cholesky_ex(
                scaled + torch.diag(torch.where(self.dead, 1.0, torch.full_like(diagonal, lift)))
            )
            if int(info) == 0:
                break
            lift *= 4
        normal = torch.randn(d, self.columns, generator=self.generator, dtype=torch.float64).to(self.device)
        sketch = torch.linalg.solve_triangular(root.mT, normal / math.sqrt(self.columns), upper=True)
        self.whitening = sketch / scale.unsqueeze(1)
        x = torch.cholesky_solve(g / scale.unsqueeze(1), root) / scale.unsqueeze(1)
        self.x = torch.where(self.dead.unsqueeze(1), 0.0, x)
        energy = gram[d:, d:].diagonal()
        explained = (2 * g - h @ self.x).mul(self.x).sum(0)
        # A residual at rounding level is no evidence of change.
        self.rss = torch.maximum(energy - explained, 64 * d * _EPS * energy)
        self.renewed_at, self.kept_at_renewal = self.seen, self.kept

    def scores(self, a: Tensor, b: Tensor) -> Tensor:
        """tau, (m,) float64, of rows a (m, d) and targets b (m, k)."""
        # Computed transposed: twice as fast as a @ block for a few columns on a CPU.
        block = torch.cat([self.whitening, self.x], dim=1).to(a.dtype)
        images = (block.mT.contiguous() @ a.mT).mT
        tau = images[:, : self.columns].square().sum(1).to(torch.float64)
        if self.residual_term:
            errors = (b - images[:, self.columns :]).to(torch.float64).square()
            tau = tau + (errors / self.rss.clamp(min=1e-300)).amax(1)
        if bool(self.dead.any()):
            tau = torch.where((a[:, self.dead] != 0).any(1), torch.full_like(tau, math.inf), tau)
        return tau

    def probabilities(self, a: Tensor, b: Tensor) -> Tensor:
        """p = min(1, c tau), (m,) float64."""
        return (self.c * self.scores(a, b)).clamp(max=1.0)

    def choose(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the rows to keep and the weights 1 / sqrt(p) to give them; counts them as seen."""
        count = a.shape[0]
        if self.ready:
            p = self.probabilities(a, b)
            draw = torch.rand(count, generator=self.generator, dtype=torch.float64).to(a.device)
            chosen = torch.nonzero(draw < p).flatten()
            weights = p[chosen].rsqrt()
        else:
            chosen = torch.arange(count, device=a.device)
            weights = torch.ones(count, dtype=torch.float64, device=a.device)
        self.seen += count
        self.kept += chosen.shape[0]
        return chosen, weights

    def state(self) -> dict[str, Tensor]:
        """Plain tensors from which `restore` continues bit for bit."""
        return {
            "sampler.counts": torch.tensor([self.seen, self.kept, self.renewed_at, self.kept_at_renewal]),
            "sampler.generator": self.generator.get_state(),
            "sampler.whitening": self.whitening,
            "sampler.x": self.x,
            "sampler.rss": self.rss,
            "sampler.dead": self.dead,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state`."""
        self.seen, self.kept, self.renewed_at, self.kept_at_renewal = state["sampler.counts"].tolist()
        self.generator.set_state(state["sampler.generator"].cpu())
        for name in ("whitening", "x", "rss", "dead"):
            setattr(self, name, state[f"sampler.{name}"].to(self.device, copy=True))


def feed(sampler: LeverageSampler, gram: BufferedGram, a: Tensor, b: Tensor) -> None:
    """Offer rows a (m, d) with targets b (m, k) to the sampler; what it keeps goes into the Gram matrix, from
    which it renews its reference whenever that is out of date, also in the middle of a batch."""
    start = 0
    while start < a.shape[0]:
        stop = min(start + sampler.next_limit(), a.shape[0])
        chosen, weights = sampler.choose(a[start:stop], b[start:stop])
        if chosen.shape[0]:
            rows = torch.cat([a[start:stop][chosen], b[start:stop][chosen]], dim=1)
            gram.defer(rows * weights.to(rows.dtype).unsqueeze(1))
        start = stop
        if sampler.wants_renewal():
            sampler.renew(gram.value())
