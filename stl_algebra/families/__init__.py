"""Candidate families: registered ways to make bilinear algorithms; each module here registers its own."""

from stl_algebra.families.registry import FAMILIES, Family, Request, family, register

__all__ = ["FAMILIES", "Family", "Request", "family", "register"]
