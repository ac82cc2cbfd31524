"""Bilinear algorithms for matrix tiles, made from finite groups and judged exactly.

The public names of the package; the modules' first lines say what each holds.
"""

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import (
    cyclic_shift,
    direct_sum,
    kronecker,
    permute_format,
    sandwich,
    transpose,
)
from stl_algebra.algorithms.encoders_file import EncodersFile, load_encoders, save_encoders
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import definition, matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import Verification, require_exact, verify
from stl_algebra.errors import InvalidInput, NotExact, StlError, TooLarge, Unavailable
from stl_algebra.published import encoders
from stl_algebra.version import __version__

__all__ = [
    "BilinearAlgorithm",
    "EncodersFile",
    "InvalidInput",
    "NotExact",
    "Provenance",
    "StlError",
    "TileFormat",
    "TooLarge",
    "Unavailable",
    "Verification",
    "__version__",
    "cyclic_shift",
    "definition",
    "direct_sum",
    "encoders",
    "kronecker",
    "load_encoders",
    "matmul_tensor",
    "permute_format",
    "require_exact",
    "sandwich",
    "save_encoders",
    "transpose",
    "verify",
]
