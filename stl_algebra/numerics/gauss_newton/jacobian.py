"""Jacobians as linear maps: a matrix, or the Khatri-Rao factors of a network's dense layers.

With h_l the inputs of dense layer l and D_l the derivative of every output with respect to what layer l puts
out, the Jacobian rows of one sample are outer products D_l (x) [h_l, 1]: J v, J^T u, a sketch of J^T and

    J J^T = sum_l  (H_l H_l^T + bias) * (D_l D_l^T)        (* = Hadamard product)

all follow from the factors; the Gram matrix costs n^2 (width) instead of n^2 M (van den Brand, Peng, Song,
Weinstein, arXiv 2006.11648).

What does not belong here: where the factors come from (`network`), solving (`solvers`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from stl_algebra.numerics.sketches import Sketch

# Samples whose rows are written out together while sketching: a few megabytes, not n M.
_CHUNK = 128


class Jacobian(Protocol):
    """J, (m, M)."""

    @property
    def shape(self) -> tuple[int, int]:
        """(m, M)."""

    def times(self, direction: Tensor) -> Tensor:
        """J direction, (m,)."""

    def transposed_times(self, weights: Tensor) -> Tensor:
        """J^T weights, (M,)."""

    def sketched(self, sketch: Sketch) -> Tensor:
        """S J^T, (width, m), for a sketch of M coordinates; S J, (width, M), for one of m where m > M."""

    def energy(self) -> float:
        """Sum of the squared entries."""


@dataclass(frozen=True)
class DenseJacobian:
    """A Jacobian that is there as a matrix."""

    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def times(self, direction: Tensor) -> Tensor:
        return self.matrix @ direction

    def transposed_times(self, weights: Tensor) -> Tensor:
        return self.matrix.mT @ weights

    def sketched(self, sketch: Sketch) -> Tensor:
        tall = self.matrix.shape[0] > self.matrix.shape[1]
        return sketch(self.matrix if tall else self.matrix.mT)

    def energy(self) -> float:
        return float(self.matrix.square().sum())


@dataclass(frozen=True)
class Layer:
    """Inputs (n, in) and output derivatives (n, o, out) of one dense layer, and whether it has a bias."""

    inputs: Tensor
    derivatives: Tensor
    bias: bool


@dataclass(frozen=True)
class LayeredJacobian:
    """The Jacobian of a network of dense layers, by its factors; parameters in the order weight, bias."""

    layers: tuple[Layer, ...]

    @property
    def shape(self) -> tuple[int, int]:
        samples, outputs, _ = self.layers[0].derivatives.shape
        return samples * outputs, sum(self._sizes())

    def _sizes(self) -> list[int]:
        return [layer.derivatives.shape[2] * (layer.inputs.shape[1] + layer.bias) for layer in self.layers]

    def _split(self, direction: Tensor) -> Sequence[Tensor]:
        return cast(Sequence[Tensor], torch.split(direction, self._sizes()))

    def times(self, direction: Tensor) -> Tensor:
        total = torch.zeros(self.shape[0], dtype=direction.dtype, device=direction.device)
        for layer, piece in zip(self.layers, self._split(direction), strict=True):
            out, entries = layer.derivatives.shape[2], layer.derivatives.shape[2] * layer.inputs.shape[1]
            moved = layer.inputs @ piece[:entries].reshape(out, -1).mT
            if layer.bias:
                moved = moved + piece[entries:]
            total += (layer.derivatives * moved.unsqueeze(1)).sum(2).flatten()
        return total

    def transposed_times(self, weights: Tensor) -> Tensor:
        pieces = []
        for layer in self.layers:
            samples, outputs, _ = layer.derivatives.shape
            slopes = (layer.derivatives * weights.reshape(samples, outputs, 1)).sum(1)
            pieces.append((slopes.mT @ layer.inputs).flatten())
            if layer.bias:
                pieces.append(slopes.sum(0))
        return torch.cat(pieces)

    def sketched(self, sketch: Sketch) -> Tensor:
        if self.shape[0] > self.shape[1]:
            return sketch(self.matrix())
        return torch.cat([sketch(columns) for columns in self._transposed_chunks()], dim=1)

    def energy(self) -> float:
        total = 0.0
        for layer in self.layers:
            sizes = layer.inputs.square().sum(1) + float(layer.bias)
            total += float((layer.derivatives.square().sum((1, 2)) * sizes).sum())
        return total

    def matrix(self) -> Tensor:
        """J written out, (m, M)."""
        pieces = []
        for layer in self.layers:
            weight = torch.einsum("nop,nq->nopq", layer.derivatives, layer.inputs)
            pieces.append(weight.flatten(2).flatten(0, 1))
            if layer.bias:
                pieces.append(layer.derivatives.flatten(0, 1))
        return torch.cat(pieces, dim=1)

    def gram(self) -> Tensor:
        """J J^T, (m, m), from the factors."""
        outputs = self.layers[0].derivatives.shape[1]
        total: Tensor | None = None
        for layer in self.layers:
            inner = layer.inputs @ layer.inputs.mT + float(layer.bias)
            d = layer.derivatives.flatten(0, 1)
            if outputs > 1:
                inner = inner.repeat_interleave(outputs, 0).repeat_interleave(outputs, 1)
            term = (d @ d.mT).mul_(inner)
            total = term if total is None else total.add_(term)
        assert total is not None
        return total

    def _transposed_chunks(self) -> Iterator[Tensor]:
        """Columns of J^T for a chunk of samples at a time, contiguous, (M, rows of the chunk)."""
        for start in range(0, self.layers[0].inputs.shape[0], _CHUNK):
            pieces = []
            for layer in self.layers:
                d = layer.derivatives[start : start + _CHUNK].permute(2, 0, 1).contiguous()
                h = layer.inputs[start : start + _CHUNK].mT.contiguous()
                pieces.append((d.unsqueeze(1) * h.unsqueeze(2)).flatten(2).flatten(0, 1))
                if layer.bias:
                    pieces.append(d.flatten(1))
            yield torch.cat(pieces)
