"""Files that pictures are written to: which suffixes there are, and writing a matplotlib figure.

What does not belong here: drawing. Loads nothing heavy, since commands look at suffixes before they begin.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of pictures without interaction.
IMAGES = (".svg", ".png")


def check_picture_path(path: Path, suffixes: Sequence[str] = IMAGES) -> None:
    """Refuse a format that a picture does not have.

    Raises:
        InvalidInput: another ending.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInput("picture", expected=f"a file name ending in {', '.join(suffixes)}", got=str(path))


def save_figure(figure: Figure, path: Path, dpi: int = 130) -> Path:
    """Write a figure as .svg or .png.

    Raises:
        InvalidInput: another ending.
        Unavailable: the file cannot be written.
    """
    check_picture_path(path)
    kind = path.suffix.lower()[1:]
    buffer = io.BytesIO()
    # Without the date the same picture gives the same file.
    figure.savefig(buffer, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None)
    return write_atomically(path, buffer.getvalue())
