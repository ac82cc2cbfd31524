"""Finite groups: values, names, constructions and what can be read off a Cayley table."""

from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.names import GRAMMAR, NAME_TABLE, parse_group

__all__ = ["GRAMMAR", "NAME_TABLE", "FiniteGroup", "parse_group"]
