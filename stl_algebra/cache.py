"""Results of expensive computations on disk: plain safetensors files that several processes may share.

A file is written to a temporary name and renamed, so that a killed writer leaves nothing half done; its
checksum is verified on reading, and a file that fails is computed again. A result from the cache is the
computed one bit for bit. The folder is `$STL_ALGEBRA_CACHE`, else `stl-algebra` where the system keeps a
user's caches; `STL_ALGEBRA_CACHE=off` computes everything anew. It may be deleted at any time. What devices
were measured to reach lies in folders of the same place (`stl_kernels.device`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stl_algebra.errors import Unavailable
from stl_algebra.files import write_atomically

Arrays = dict[str, NDArray[Any]]

#: Temporary files of killed writers are deleted when they are older than this, in seconds.
_ABANDONED_AFTER = 3600.0

#: Complex arrays are stored as pairs of reals under a name with this ending.
_COMPLEX = ":complex"


def cache_folder(kind: str = "") -> Path | None:
    """Where results of a kind are kept; None when the cache is switched off or there is no home."""
    chosen = os.environ.get("STL_ALGEBRA_CACHE", "")
    if chosen.lower() == "off":
        return None
    try:
        base = Path(chosen) if chosen else user_cache_path("stl-algebra", appauthor=False)
    except RuntimeError:
        return None
    return base / kind if kind else base


def cached_arrays(computation: str, version: int, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays that `compute` returns, from the cache when it has them.

    Args:
        computation: what is computed, a word.
        version: of the algorithm; a result of another version is not used.
        key: digest of everything that the result depends on.
        compute: returns float64, complex128, int64 or bool arrays by name.

    Returns:
        C-contiguous read-only arrays, the same bits whether computed or read.
    """
    folder = cache_folder()
    path = None if folder is None else folder / f"{computation}-v{version}-{key}.safetensors"
    if path is not None:
        stored = _read(path)
        if stored is not None:
            return _frozen(stored)
    computed = _frozen(compute())
    if path is not None:
        try:
            _remove_abandoned(path.parent)
            write_atomically(path, _encode(computed))
        except Unavailable as error:
            _warn_once(folder, str(error))
    return computed


_warned: set[Path | None] = set()


def _warn_once(folder: Path | None, reason: str) -> None:
    if folder not in _warned:
        _warned.add(folder)
        warnings.warn(f"results are not cached: {reason}", UserWarning, stacklevel=3)


def _frozen(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    frozen = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for array in frozen.values():
        array.setflags(write=False)
    return frozen


def _encode(arrays: Arrays) -> bytes:
    """The file: safetensors, with the checksum of its own tensors in the metadata."""
    plain = {
        name + (_COMPLEX if np.iscomplexobj(a) else ""): a.view(np.float64).reshape(*a.shape, 2)
        if np.iscomplexobj(a)
        else a
        for name, a in arrays.items()
    }
    return bytes(save(plain, metadata={"checksum": _checksum(plain)}))


def _checksum(plain: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(plain):
        array = plain[name]
        digest.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> Arrays | None:
    """The arrays of a file; None when there is none or it is damaged."""
    try:
        content = path.read_bytes()
        plain: Arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (OSError, SafetensorError, ValueError, KeyError):
        return None
    if metadata.get("checksum") != _checksum(plain):
        return None
    return {
        name.removesuffix(_COMPLEX): a.view(np.complex128)[..., 0] if name.endswith(_COMPLEX) else a
        for name, a in plain.items()
    }


def _remove_abandoned(folder: Path) -> None:
    """Delete what killed writers left: old temporary files of `write_atomically`."""
    pattern = re.compile(r"\..*\.safetensors\..+")
    try:
        for path in folder.iterdir():
            if pattern.fullmatch(path.name) and time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                path.unlink(missing_ok=True)
    except OSError:
        return  # no folder yet, or another process was quicker
