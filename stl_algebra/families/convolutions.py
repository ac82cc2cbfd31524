"""F3: sums of group convolutions, mainly on Z_m^k, kept at low degree.

One convolution multiplies in R[G] several *placed* products at once: placed product p takes some rows, inner
indices and columns of the tile through its own triple of subsets,

    X[i, l] -> s_p(i)^-1 t_p(l),    W[l, j] -> t_p(l)^-1 u_p(j),    Y[i, j] read at s_p(i)^-1 u_p(j).

With the simultaneous triple product property all are exact (Cohn, Kleinberg, Szegedy and Umans 2005); in
general collisions add noise. Signs a_i b_l on X, b_l c_j on W and a_i c_j on Y leave the wanted terms alone
and make collisions cancel on average when several convolutions are added. Low-degree truncation keeps the
blocks whose characters depend on few of the k coordinates (after arXiv 2510.22193).

What does not belong here: single triples (`triple_product`), measuring errors (`benchmarks.convolutions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.fit import refit_decoder
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.families.fourier import fourier_products
from stl_algebra.families.registry import Request, register
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.representations.fourier import FourierBlock, fourier_basis
from stl_algebra.triples.property import find_triple

#: A candidate has up to this many times the products asked for; the search prunes the rest.
_SURPLUS = 1.5
#: Steps of annealing for each placed product.
_STEPS = 400


@dataclass(frozen=True, eq=False)
class Placement:
    """One product of sub-matrices inside a convolution.

    Attributes:
        rows, inner, columns: which indices of the tile's sides n, k, m take part.
        s, t, u: the group elements of these, one each.
        a, b, c: their signs, +1 or -1.
    """

    rows: IntArray
    inner: IntArray
    columns: IntArray
    s: IntArray
    t: IntArray
    u: IntArray
    a: Array
    b: Array
    c: Array


def embeddings(
    group: FiniteGroup, tile: TileFormat, placements: Sequence[Placement]
) -> tuple[Array, Array, Array]:
    """Matrices (|G|, nk), (|G|, km), (|G|, nm) that take X and W to R[G] and, transposed, read Y."""
    x, w, y = (
        np.zeros((group.order, *sides)) for sides in ((tile.n, tile.k), (tile.k, tile.m), (tile.n, tile.m))
    )
    for p in placements:
        s, t = group.inverse[p.s], group.inverse[p.t]
        for target, left, right, row, column, sign in (
            (x, s, p.t, p.rows, p.inner, np.outer(p.a, p.b)),
            (w, t, p.u, p.inner, p.columns, np.outer(p.b, p.c)),
            (y, s, p.u, p.rows, p.columns, np.outer(p.a, p.c)),
        ):
            element = group.table[left[:, None], right[None, :]]
            np.add.at(target, (element, row[:, None], column[None, :]), sign)
    return x.reshape(group.order, -1), w.reshape(group.order, -1), y.reshape(group.order, -1)


def degrees(group: FiniteGroup) -> dict[FourierBlock, int]:
    """For each block of the real Fourier basis, the number of direct factors on which it is not trivial.

    On Z_m^k, written C5^3 for m = 5 and k = 3, this is the Hamming weight of its characters.
    """
    basis = fourier_basis(group)
    shape = [factor.order for factor in _atoms(group)]
    out = {}
    for block in basis.blocks:
        rows = basis.matrix[block.start : block.stop].reshape(-1, *shape)
        spreads = [np.ptp(rows, axis=axis + 1).max() for axis in range(len(shape))]
        out[block] = int(np.count_nonzero(np.array(spreads) > 1e-9))
    return out


def _atoms(group: FiniteGroup) -> list[FiniteGroup]:
    """The direct factors that the group's name spells, products of products taken apart."""
    return [atom for factor in group.factors for atom in _atoms(factor)] if group.factors else [group]


def convolution(
    group: FiniteGroup, tile: TileFormat, placements: Sequence[Placement], products: int | None = None
) -> BilinearAlgorithm:
    """One convolution, all of it or the whole blocks of lowest degree with about so many products.

    The decoder is the inverse transform, not refitted.

    Args:
        group: any group; degrees refer to its direct factors.
        tile: the format.
        placements: at least one.
        products: stop after the block with which so many products are reached; None for all blocks.

    Raises:
        InvalidInput: no placement, or `products` is below 1.
    """
    if not placements:
        raise InvalidInput("placements", expected="at least one", got="none")
    if products is not None and products < 1:
        raise InvalidInput("products", expected="at least 1", got=products)
    basis = fourier_basis(group)
    degree = degrees(group)
    ordered = sorted(basis.blocks, key=lambda block: (degree[block], block.start))
    embedded = embeddings(group, tile, placements)
    parts: list[tuple[Array, Array, Array]] = []
    kept: list[FourierBlock] = []
    count = 0
    for block in ordered:
        part = fourier_products(basis, embedded, [block])
        parts.append(part)
        kept.append(block)
        count += len(part[0])
        if products is not None and count >= products:
            break
    return BilinearAlgorithm(
        tile,
        np.concatenate([p[0] for p in parts]),
        np.concatenate([p[1] for p in parts]),
        np.concatenate([p[2] for p in parts], axis=1),
        f"convolution({group.name})",
        Provenance(
            family="convolutions",
            groups=(group.name,),
            parameters={"degree": max(degree[b] for b in kept), "placements": len(placements)},
        ),
    )


def add(algorithms: Sequence[BilinearAlgorithm], weights: Sequence[float]) -> BilinearAlgorithm:
    """The weighted sum of algorithms of one format: all their products, one after another.

    Raises:
        InvalidInput: none is given, or formats differ.
    """
    if not algorithms or any(a.tile != algorithms[0].tile for a in algorithms):
        raise InvalidInput(
            "algorithms", expected="at least one, all of one format", got=str(list(algorithms))
        )
    first = algorithms[0]
    return BilinearAlgorithm(
        first.tile,
        np.concatenate([a.encode_x for a in algorithms]),
        np.concatenate([a.encode_w for a in algorithms]),
        np.concatenate([w * a.decode for a, w in zip(algorithms, weights, strict=True)], axis=1),
        first.name,
        first.provenance.then(f"sum of {len(algorithms)}"),
    )


def simultaneous_placements(m: int, tile: TileFormat) -> list[Placement]:
    """Two products at once in Z_m^3, one for each half of the inner side: exact.

    With H_1, H_2, H_3 the three factors, the triples (H_1, H_2, H_3) and (H_2, H_3, H_1), each without the
    identity, have the simultaneous triple product property (Cohn, Kleinberg, Szegedy and Umans 2005,
    section 5): m^3 elements multiply two independent (m-1) x (m-1) matrices. Here X = [X_1 X_2] and W is cut
    likewise, so that X_1 W_1 and X_2 W_2 are read at different places and added.

    Raises:
        InvalidInput: n, m or half of k is larger than m - 1.
    """
    half = (tile.k + 1) // 2
    if max(tile.n, tile.m, half) > m - 1:
        raise InvalidInput(
            "tile", expected=f"sides n and m of at most {m - 1} and k of at most {2 * (m - 1)}", got=str(tile)
        )

    def line(factor: int, count: int) -> IntArray:
        out: IntArray = np.arange(1, count + 1) * int(m ** (2 - factor))
        return out

    rows, columns = np.arange(tile.n), np.arange(tile.m)
    placements = []
    for first, inner in enumerate((np.arange(half), np.arange(half, tile.k))):
        if inner.size:
            s, t, u = line(first, tile.n), line((first + 1) % 3, inner.size), line((first + 2) % 3, tile.m)
            ones = (np.ones(tile.n), np.ones(inner.size), np.ones(tile.m))
            placements.append(Placement(rows, inner, columns, s, t, u, *ones))
    return placements


def annealed_placement(
    group: FiniteGroup, tile: TileFormat, rng: np.random.Generator, inner: IntArray
) -> Placement:
    """The tile, or its part with some inner indices, through an annealed triple with random signs.

    Raises:
        NoCandidate: the group is smaller than a side.
    """
    part = replace(tile, k=len(inner))
    triple = find_triple(group, part, int(rng.integers(2**31)), steps=_STEPS)
    a, b, c = (rng.choice([-1.0, 1.0], size=side) for side in (part.n, part.k, part.m))
    return Placement(np.arange(tile.n), inner, np.arange(tile.m), triple.s, triple.t, triple.u, a, b, c)


@register(
    "convolutions",
    uses_group=True,
    summary="several convolutions on the group with random signs, low degrees kept, added up",
)
def convolutions(request: Request) -> BilinearAlgorithm:
    """A few convolutions, with the lowest degrees of each, the decoder fitted to their sum.

    Each takes the whole tile through its own annealed triple, or a share of the inner indices; on Z_m^3 with
    m above the sides, every other seed begins with the exact simultaneous placements.
    """
    group, tile, rank = request.group, request.tile, request.rank
    assert group is not None
    rng = np.random.default_rng([request.seed, group.order, tile.products])
    available = fourier_basis(group).matrix.shape[0]
    least = -(-rank // available)
    count = int(rng.integers(least, least + 4))
    wanted = int(np.ceil(_SURPLUS * rank / count))
    shares = [np.arange(tile.k)] * count
    if rng.random() < 0.5 and 1 < count <= tile.k:
        shares = [np.sort(part) for part in np.array_split(rng.permutation(tile.k), count)]
    atoms = _atoms(group)
    cube = len(atoms) == 3 and len({a.name for a in atoms}) == 1 and atoms[0].name == f"C{atoms[0].order}"
    fits = max(tile.n, tile.m, (tile.k + 1) // 2) < atoms[0].order
    chosen: list[list[Placement]] = []
    if cube and fits and request.seed % 2 == 0:
        chosen.append(simultaneous_placements(atoms[0].order, tile))
        shares = shares[1:]
    chosen += [[annealed_placement(group, tile, rng, share)] for share in shares]
    parts = [convolution(group, tile, placements, wanted) for placements in chosen]
    total = refit_decoder(add(parts, [1.0] * len(parts)))
    return total.renamed(
        f"convolutions({group.name})",
        replace(
            total.provenance,
            parameters={
                "convolutions": len(parts),
                "placements": [len(p) for p in chosen],
                "degrees": [p.provenance.parameters["degree"] for p in parts],
            },
        ),
    )
