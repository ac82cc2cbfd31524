"""Recipe `tiles`: approximate encoders, the encoded weights calibrated in the Gram domain.

The n rows of a tile are independent rows of covariance C, so that their second moment is I_n (x) C, and the
best encoded weights solve H Z = g with (docs/theory.md, section 5)

    H[(rho,L), (sigma,L')] = (D^T D)[rho,sigma] tr(E_rho C_LL' E_sigma^T),   g[(rho,L), J] = <E_rho^T D_rho,
    (C W)_LJ>.

No tile is sampled. Features are dealt out to the tiles by their moments, and encoders that were fitted to a
profile are turned to the axes of the tiles (section 15). The layer subtracts the mean first: what an
approximate algorithm makes of it differs from row to row. Rows of a tile depend on each other; the error is
the mean over a tile's rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.feature_layout import feature_layout
from stl_algebra.algorithms.profile import profile_of
from stl_algebra.algorithms.scores import inner_losses
from stl_algebra.errors import InvalidInput, TooLarge
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.options import LayerOptions
from stl_models.composites.composite import Sequence, Shift
from stl_models.recipes.base import Engine, Fit, Layer, Parameters, Shape, Site, composite, register

#: Unknowns of an output block above which the Gram matrix is refused: 1.2 GB.
_LARGEST = 12_288


class Tiles:
    """One product on an approximate algorithm."""

    name = "tiles"
    summary = "approximate encoders, calibrated from second moments"
    kind = "linear"
    slices = False

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        algorithm = engine.approximate
        if algorithm is None:
            return []
        (k, m), tile = shape.sizes[0], algorithm.tile
        if k < tile.k or m < tile.m or k % tile.k or algorithm.rank * (k // tile.k) > _LARGEST:
            return []
        cost = algorithm.rank * (k // tile.k) * -(-m // tile.m) / tile.n
        return [({"rank": algorithm.rank}, cost)] if cost < engine.cost(k, m) else []

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        return [shape.sizes[0]]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        if not choices or engine.approximate is None:
            return []
        (layer,) = site.layers
        return [layer.loss(calibrated_tiles(layer, engine.approximate)[1])] * len(choices)

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        (layer,) = site.layers
        if engine.approximate is None:
            raise InvalidInput(
                "encoders", expected="approximate encoders for the recipe 'tiles'", got="none",
                hint="name an encoders file",
            )  # fmt: skip
        module, change = calibrated_tiles(layer, engine.approximate)
        bias = layer.moments.mean @ layer.weight
        bias = bias if layer.bias is None else bias + layer.bias
        module.bias = nn.Parameter(bias)
        root = Sequence(Shift(-layer.moments.mean), module)
        return Fit({layer.name: composite(layer, root, self.name)}, {layer.name: change})


def calibrated_tiles(layer: Layer, algorithm: BilinearAlgorithm) -> tuple[STLLinear, Tensor]:
    """The layer on tiles without its bias, and a change (K, M) of the weights with the tiles' error.

    Raises:
        TooLarge: the Gram matrix would be.
    """
    t, rank = algorithm.tile, algorithm.rank
    k_size, m_size = layer.weight.shape
    tiles_k, tiles_m = k_size // t.k, -(-m_size // t.m)
    if rank * tiles_k > _LARGEST:
        raise TooLarge(f"{layer.name}: calibration has {rank * tiles_k} unknowns, above {_LARGEST}")
    fitted = profile_of(algorithm) is not None
    losses = inner_losses(algorithm) if fitted else None
    layout = feature_layout(layer.moments.centred().cpu().numpy(), t.k, losses)
    if fitted:
        algorithm = layout.turned(algorithm)
    order = torch.from_numpy(layout.strided)
    c = layer.moments.covariance()[order][:, order]
    w = torch.nn.functional.pad(layer.weight[order], (0, tiles_m * t.m - m_size))
    encode = torch.tensor(algorithm.encode_x).view(rank, t.n, t.k)
    decode = torch.tensor(algorithm.decode).view(t.n, t.m, rank)
    # Strided tiles: entry a of tile L is feature a * tiles_k + L; likewise for the outputs.
    blocks = c.view(t.k, tiles_k, t.k, tiles_k)
    inner = torch.einsum("ria,aLbM,sib->rLsM", encode, blocks, encode)
    gram = torch.einsum("ijr,ijs->rs", decode, decode)[:, None, :, None] * inner
    size = rank * tiles_k
    gram = gram.reshape(size, size)
    cw = (c @ w).view(t.k, tiles_k, t.m, tiles_m)
    right = torch.einsum("ria,ijr,aLjJ->rLJ", encode, decode, cw).reshape(size, tiles_m)
    gram.diagonal().add_(1e-9 * gram.diagonal().mean())
    z = torch.cholesky_solve(right, torch.linalg.cholesky(gram))
    options = LayerOptions(tiling="strided", permutation=tuple(order.tolist()))
    module = STLLinear(k_size, m_size, algorithm, bias=True, options=options, dtype=torch.float64)
    with torch.no_grad():
        module.encoded_w.copy_(z.view(rank, tiles_k, tiles_m))
    # E |XW - Y|^2 of a tile row is n tr(W^T C W) - <g, Z> at the optimum; spread evenly over the directions.
    power = float((w * (c @ w)).sum()) * t.n
    error = max(power - float((right * z).sum()), 0.0)
    share = (error / power) ** 0.5 if power > 0 else 0.0
    return module, layer.weight * share


register(Tiles())
