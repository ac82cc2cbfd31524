"""Every spelling of a symmetry: a name of the library, generators, or a group with representations.

What does not belong here: the library (`exact.symmetries`), computing a stabiliser (`stabiliser`).
"""

from __future__ import annotations

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.symmetries import NAMED_SYMMETRIES, NamedSymmetry
from stl_algebra.families.orbits.generated import GeneratedSymmetry
from stl_algebra.families.orbits.symmetry import Symmetry
from stl_algebra.families.orbits.tensor_maps import MODE_NAMES


def symmetry_of(text: str) -> tuple[Symmetry | GeneratedSymmetry, NamedSymmetry | None]:
    """The symmetry that a text names, with its record where it is one of `NAMED_SYMMETRIES`.

    Read are names of that table, generators "XWZ(2 1;2 1;2 1)|ZXW(...)" (`TensorMap.parse`), and groups with
    their representations, "S3/2/cyclic" (`Symmetry.parse`).

    Raises:
        InvalidInput: the text is none of these.
        TooLarge: the generators give too many elements.
    """
    name = text.strip()
    if name in NAMED_SYMMETRIES:
        known = NAMED_SYMMETRIES[name]
        return GeneratedSymmetry.parse(known.generators), known
    if name[:3] in MODE_NAMES.values():
        return GeneratedSymmetry.parse(name), None
    if "/" not in name:
        raise InvalidInput(
            "symmetry",
            expected=f"{', '.join(NAMED_SYMMETRIES)}, generators such as XWZ(2 1;2 1;2 1)|ZXW(1 2;1 2;1 2), "
            "or a group with representations such as S3/2/cyclic",
            got=repr(text),
        )
    return Symmetry.parse(name), None
