"""Handing an algorithm to programs that do not read encoders files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.encoders_file import EncodersFile, save_encoders
from stl_algebra.algorithms.verify import rational_entry, verify
from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically

FORMATS = (".npz", ".json", ".safetensors")


def export_algorithm(stored: EncodersFile, target: str | Path) -> Path:
    """Write an algorithm as .npz, .json or (a copy with fresh verification) .safetensors.

    .npz holds encode_x (r, nk), encode_w (r, km), decode (nm, r) and, for codes with the convention
    T = sum_r u_r (x) v_r (x) w_r, the arrays u (nk, r), v (km, r), w (nm, r).
    .json holds the same three factors as lists of rows, with exact entries as integers or "p/q".

    Raises:
        InvalidInput: unknown suffix.
        Unavailable: the file cannot be written.
    """
    path, a = Path(target), stored.algorithm
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(
            buffer,
            encode_x=a.encode_x,
            encode_w=a.encode_w,
            decode=a.decode,
            u=a.encode_x.T,
            v=a.encode_w.T,
            w=a.decode,
            format=np.array([a.tile.n, a.tile.k, a.tile.m]),
        )
        return write_atomically(path, buffer.getvalue())
    if path.suffix == ".json":
        outcome = verify(a)
        document = {
            "format": [a.tile.n, a.tile.k, a.tile.m],
            "rank": a.rank,
            "name": a.name,
            "exactness": outcome.certificate(),
            **{k: _entries(getattr(a, k), outcome.exact) for k in ("encode_x", "encode_w", "decode")},
            "provenance": a.provenance.as_json(),
        }
        return write_atomically(path, json.dumps(document, indent=1) + "\n")
    if path.suffix == ".safetensors":
        return save_encoders(path, a, stored.scores)
    raise InvalidInput("to", expected=f"a file name that ends in {', '.join(FORMATS)}", got=str(target))


def _entries(factor: Array, exact: bool) -> list[list[object]]:
    def entry(value: float) -> object:
        fraction = rational_entry(value) if exact else None
        if fraction is None:
            return value
        return int(fraction) if fraction.denominator == 1 else str(fraction)

    return [[entry(float(v)) for v in row] for row in factor]
