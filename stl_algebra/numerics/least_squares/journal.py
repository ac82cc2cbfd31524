"""Dynamic least squares on disk: a saved state, and a journal that a kill cannot hurt.

Plain safetensors, nothing pickled. What does not belong here: what a state holds (`stream`).
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from stl_algebra.errors import InvalidInput, Unavailable
from stl_algebra.files import write_atomically
from stl_algebra.numerics.least_squares.rows import Form, Rows, checked_rows
from stl_algebra.numerics.least_squares.stream import DynamicLeastSquares

_HEAD = struct.Struct("<QI")
_INSERT, _DELETE, _EXPIRE = range(3)


def save_least_squares(path: str | Path, stream: DynamicLeastSquares) -> Path:
    """Write the state; a reader sees the old file or the new one, never a part.

    Raises:
        Unavailable: the file cannot be written.
    """
    tensors = {key: value.cpu().contiguous() for key, value in stream.state_dict().items()}
    return write_atomically(path, safetensors.torch.save(tensors))


def load_least_squares(path: str | Path, device: torch.device | str = "cpu") -> DynamicLeastSquares:
    """Read what `save_least_squares` wrote; the object continues bit for bit.

    Raises:
        InvalidInput: there is no such file or it is not a saved state.
    """
    try:
        state = safetensors.torch.load(Path(path).read_bytes())
    except (OSError, SafetensorError) as error:
        raise InvalidInput("path", expected="a saved state", got=f"{path}: {error}") from error
    return DynamicLeastSquares.from_state_dict(state, device)


class JournaledLeastSquares:
    """A stream in a folder: every change is on disk before the call returns.

    Opening the folder again, after a kill at any moment, continues with everything whose call had
    returned; at most the change in flight is lost. `compact` replaces the journal by a saved state.

    Args:
        folder: holds "state.safetensors" and "journal"; made when missing.
        stream: the empty or current stream to start with when the folder is new; ignored otherwise.
        sync: also wait until the disk has it, which guards against power loss, not only a kill.
        device: where the stream of an old folder is to live.

    Raises:
        InvalidInput: the folder is new and there is no stream, or its files are not a journal's.
        Unavailable: the folder cannot be written; from a change, when it is not on disk. `stream` is then a
            new object without that change.
    """

    def __init__(
        self,
        folder: str | Path,
        stream: DynamicLeastSquares | None = None,
        *,
        sync: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self._folder, self._sync = Path(folder), sync
        saved = self._folder / "state.safetensors"
        if saved.exists():
            self.stream = load_least_squares(saved, device)
        elif stream is not None:
            self.stream = stream
            save_least_squares(saved, stream)
        else:
            raise InvalidInput("stream", expected="a stream to start a new folder with", got="None")
        # A journal is named by the checksum of its state: a kill while compacting cannot replay it twice.
        self._open()

    def insert(self, a: Rows, b: Rows) -> int:
        """`DynamicLeastSquares.insert`, recorded."""
        rows, form = self._tensors(a, b)
        handle = self.stream.insert(a, b)
        self._record({"kind": torch.tensor([_INSERT, form.numpy + 2 * form.flat]), **rows})
        return handle

    def delete(self, handle: int, a: Rows | None = None, b: Rows | None = None) -> None:
        """`DynamicLeastSquares.delete`, recorded."""
        self.stream.delete(handle, a, b)
        rows = {} if a is None or b is None else self._tensors(a, b)[0]
        self._record({"kind": torch.tensor([_DELETE, handle]), **rows})

    def expire(self, window: int) -> int:
        """`DynamicLeastSquares.expire`, recorded."""
        dropped = self.stream.expire(window)
        self._record({"kind": torch.tensor([_EXPIRE, window])})
        return dropped

    def compact(self) -> None:
        """Replace the journal by the state that it leads to."""
        self.close()
        old = self._path
        save_least_squares(self._folder / "state.safetensors", self.stream)
        self._open()
        if old != self._path:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the file back; nothing is lost without it."""
        os.close(self._descriptor)

    def _open(self) -> None:
        state = (self._folder / "state.safetensors").read_bytes()
        self._path = self._folder / f"journal-{zlib.crc32(state):08x}"
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise Unavailable(f"cannot write {self._path}: {error.strerror}") from error
        content, offset = self._path.read_bytes(), 0
        while offset + _HEAD.size <= len(content):
            length, check = _HEAD.unpack_from(content, offset)
            record = content[offset + _HEAD.size : offset + _HEAD.size + length]
            if len(record) < length or zlib.crc32(record) != check:
                break
            self._replay(safetensors.torch.load(record))
            offset += _HEAD.size + length
        # What follows is a change that was cut off.
        os.ftruncate(self._descriptor, offset)
        os.lseek(self._descriptor, offset, os.SEEK_SET)

    def _replay(self, record: dict[str, Tensor]) -> None:
        kind, value = record["kind"].tolist()
        a, b = (record[name].to(self.stream.device) if name in record else None for name in "ab")
        if kind == _INSERT:
            assert a is not None
            assert b is not None
            form = Form(bool(value & 1), bool(value & 2))
            self.stream.insert(form.give(a), form.give(b.flatten() if form.flat else b))
        elif kind == _DELETE:
            self.stream.delete(value, a, b)
        else:
            self.stream.expire(value)

    def _tensors(self, a: Rows, b: Rows) -> tuple[dict[str, Tensor], Form]:
        rows, targets, form = checked_rows(self.stream.config, self.stream.device, a, b)
        return {"a": rows[:, : self.stream.config.d], "b": targets}, form

    def _record(self, record: dict[str, Tensor]) -> None:
        content = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in record.items()})
        data = memoryview(_HEAD.pack(len(content), zlib.crc32(content)) + content)
        start = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            if self._sync:
                os.fsync(self._descriptor)
        except OSError as error:
            # The change is in memory and not safely on disk: drop what was written and go back to the rest.
            os.ftruncate(self._descriptor, start)
            self.close()
            self.stream = load_least_squares(self._folder / "state.safetensors", self.stream.device)
            self._open()
            raise Unavailable(f"cannot write {self._path}: {error.strerror}; nothing was changed") from error
