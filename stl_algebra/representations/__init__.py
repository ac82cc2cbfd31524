"""Representations of finite groups over the complex and the real numbers, and the real Fourier basis."""

from stl_algebra.representations.fourier import FourierBasis, FourierBlock, fourier_basis
from stl_algebra.representations.irreps import Irrep, RealType, character_table, complex_irreps
from stl_algebra.representations.real import RealIrrep, real_irreps

__all__ = [
    "FourierBasis",
    "FourierBlock",
    "Irrep",
    "RealIrrep",
    "RealType",
    "character_table",
    "complex_irreps",
    "fourier_basis",
    "real_irreps",
]
