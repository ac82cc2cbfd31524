"""F2: algorithms that are unions of orbits of a finite group acting on the matrix multiplication tensor."""

from stl_algebra.families.orbits.family import orbits
from stl_algebra.families.orbits.generated import GeneratedSymmetry
from stl_algebra.families.orbits.integral import IntegralForm, discretise_invariant, integral_forms, lattices
from stl_algebra.families.orbits.invariant import algorithms_of, embedding, refine_invariant
from stl_algebra.families.orbits.multisets import count_multisets, multiset_at, multisets
from stl_algebra.families.orbits.named import symmetry_of
from stl_algebra.families.orbits.orbit_types import OrbitType, orbit_types
from stl_algebra.families.orbits.search import search_with_symmetry
from stl_algebra.families.orbits.simplex import simplex
from stl_algebra.families.orbits.stabiliser import Stabiliser, stabiliser
from stl_algebra.families.orbits.symmetry import (
    MODES,
    Symmetry,
    is_invariant,
    representations_of_dimension,
)
from stl_algebra.families.orbits.tensor_maps import TensorMap

__all__ = [
    "MODES",
    "GeneratedSymmetry",
    "IntegralForm",
    "OrbitType",
    "Stabiliser",
    "Symmetry",
    "TensorMap",
    "algorithms_of",
    "count_multisets",
    "discretise_invariant",
    "embedding",
    "integral_forms",
    "is_invariant",
    "lattices",
    "multiset_at",
    "multisets",
    "orbit_types",
    "orbits",
    "refine_invariant",
    "representations_of_dimension",
    "search_with_symmetry",
    "simplex",
    "stabiliser",
    "symmetry_of",
]
