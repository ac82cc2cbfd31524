"""Factor files as they exist: reading other programs' files of one bilinear algorithm, and writing for them.

`read_factors` reads any of them into a `FactorFile`, deciding by exact arithmetic what a file leaves open;
`write_factors` writes one. Our own hand-over is `algorithms.encoders_file`. Nothing is unpickled.
"""

from stl_algebra.factor_files.read import FactorFile, read_factors
from stl_algebra.factor_files.write import SUFFIXES, write_factors

__all__ = ["SUFFIXES", "FactorFile", "read_factors", "write_factors"]
