"""Finite groups: values, names, constructions, subgroups, isomorphism: what is read off a Cayley table."""

from stl_algebra.groups.grammar import GRAMMAR, NAME_TABLE
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.isomorphism import isomorphic, isomorphism
from stl_algebra.groups.names import as_group, parse_group
from stl_algebra.groups.recognition import small_group_number, standard_names
from stl_algebra.groups.subgroups import SubgroupClass, subgroup_classes, subgroups

__all__ = [
    "GRAMMAR",
    "NAME_TABLE",
    "FiniteGroup",
    "SubgroupClass",
    "as_group",
    "isomorphic",
    "isomorphism",
    "parse_group",
    "small_group_number",
    "standard_names",
    "subgroup_classes",
    "subgroups",
]
