"""Candidate families: registered ways to make bilinear algorithms. Importing the package registers all."""

from stl_algebra.families import convolutions, fourier, orbits, ungrouped  # noqa: F401  (registration)
from stl_algebra.families.registry import FAMILIES, Family, Request, family, register

__all__ = ["FAMILIES", "Family", "Request", "family", "register"]
