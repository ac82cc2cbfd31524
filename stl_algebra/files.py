"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from stl_algebra.errors import Unavailable


def write_atomically(path: str | Path, content: bytes | str | Iterable[bytes | memoryview]) -> Path:
    """Write `content` to `path` through a temporary file in the same folder and a rename.

    A process that is killed leaves the old file or the new one, never a part. Text is written as UTF-8; parts
    are written as they come.

    Raises:
        Unavailable: the folder cannot be made or written.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    parts: Iterable[bytes | memoryview] = (data,) if isinstance(data, bytes) else data
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; give the usual permissions of a new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        # Gone where it was renamed; left over where anything went wrong, Ctrl-C and half-made parts included.
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def check_writable(folder: str | Path) -> None:
    """Make the folder, and say before long work whether files can be written to it.

    Raises:
        Unavailable: they cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unavailable(f"cannot write to {folder}: {error.strerror or error}") from error
