"""Where a prefix cache keeps its rows: in one tensor, or in one file that survives kills.

A row is the output of the frozen prefix for one example, float values in memory order. Keys are 16 bytes.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

KEY = 16  #: bytes of a key
_HEAD = KEY + 4  #: bytes before the row: key and CRC-32 of key and row


class Rows(Protocol):
    """Rows by key. ``put`` may decline (full, read-only); a key that was put may be gone (damaged)."""

    def absent(self, keys: Sequence[bytes]) -> list[int]:
        """Positions of the keys that are certainly not there; reads no row."""
        ...

    def get(self, keys: Sequence[bytes]) -> tuple[Tensor, list[int]]:
        """Rows of ``keys``, shape (keys, size), and the positions of those that are not there (left unset)."""
        ...

    def put(self, keys: Sequence[bytes], rows: Tensor) -> None: ...


class RowsInMemory:
    """Rows in one tensor of fixed size; the first ``len(table)`` keys stay, later ones are declined.

    Every epoch asks for all examples in another order, so replacing rows would only trade one miss for another.
    """

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self.slots: dict[bytes, int] = {}

    def absent(self, keys: Sequence[bytes]) -> list[int]:
        return [position for position, key in enumerate(keys) if key not in self.slots]

    def get(self, keys: Sequence[bytes]) -> tuple[Tensor, list[int]]:
        slots = [self.slots.get(key, -1) for key in keys]
        if -1 not in slots:
            return self.table.index_select(0, torch.tensor(slots)), []
        found = self.table.new_empty((len(keys), self.table.shape[1]))
        for row, slot in enumerate(slots):
            if slot >= 0:
                found[row].copy_(self.table[slot])
        return found, [row for row, slot in enumerate(slots) if slot < 0]

    def put(self, keys: Sequence[bytes], rows: Tensor) -> None:
        for key, row in zip(keys, rows):
            if key not in self.slots and len(self.slots) < len(self.table):
                self.table[len(self.slots)].copy_(row)
                self.slots[key] = len(self.slots)


class RowsInFile:
    """Rows in one file: records of key, checksum over key and row, row; appended, never moved.

    A record is trusted only if its checksum fits, at every read: what a kill tore or a disk damaged counts as
    missing and is written again in its place. The file is read with ``pread`` rather than mapped, because mapped
    pages would count as memory of this process. One process at a time writes; others only read. ``most`` rows.
    """

    def __init__(self, path: Path, size: int, dtype: torch.dtype, most: int) -> None:
        self.size, self.dtype, self.most = size, dtype, most
        self._record = _HEAD + size * dtype.itemsize
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.writes = True
        except OSError:
            self.writes = False
        self._lock = threading.Lock()
        self._damaged: list[int] = []
        self.slots = self._index()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    __del__ = close

    def _index(self) -> dict[bytes, int]:
        """Keys of the whole records in the file; a torn last one is overwritten by the next."""
        count = min(os.fstat(self._file).st_size // self._record, self.most)
        self._next = count
        return {os.pread(self._file, KEY, slot * self._record): slot for slot in range(count)}

    def absent(self, keys: Sequence[bytes]) -> list[int]:
        return [position for position, key in enumerate(keys) if key not in self.slots]

    def get(self, keys: Sequence[bytes]) -> tuple[Tensor, list[int]]:
        found = torch.empty((len(keys), self.size), dtype=self.dtype)
        missing = []
        for row, key in enumerate(keys):
            slot = self.slots.get(key)
            if slot is None or not self._read(slot, key, found[row]):
                missing.append(row)
        return found, missing

    def _read(self, slot: int, key: bytes, row: Tensor) -> bool:
        head, body = bytearray(_HEAD), memoryview(row.view(torch.uint8).numpy())
        read = os.preadv(self._file, [head, body], slot * self._record)
        if read == self._record and bytes(head) == _head(key, body):
            return True
        self.slots.pop(key, None)
        self._damaged.append(slot)
        return False

    def put(self, keys: Sequence[bytes], rows: Tensor) -> None:
        with self._lock:
            for key, row in zip(keys, rows):
                slot = self._free_slot() if self.writes and key not in self.slots else None
                if slot is not None:
                    self._write(slot, key, memoryview(row.view(torch.uint8).numpy()))

    def _free_slot(self) -> int | None:
        if self._damaged:
            return self._damaged.pop()
        if self._next >= self.most:
            return None
        self._next += 1
        return self._next - 1

    def _write(self, slot: int, key: bytes, body: memoryview) -> None:
        try:
            written = os.pwritev(self._file, [_head(key, body), body], slot * self._record)
        except OSError:  # a full disk ends the filling, not the training
            self.writes = False
            return
        if written == self._record:
            self.slots[key] = slot


_opened: weakref.WeakValueDictionary[Path, RowsInFile] = weakref.WeakValueDictionary()


def rows_in_file(path: Path, size: int, dtype: torch.dtype, most: int) -> RowsInFile:
    """The file's rows, opened once per process: a run whose model is not collected yet would hold the lock."""
    found = _opened.get(path)
    if found is None:
        found = _opened[path] = RowsInFile(path, size, dtype, most)
    found.most = max(found.most, most)
    return found


def _head(key: bytes, body: memoryview) -> bytes:
    return key + zlib.crc32(body, zlib.crc32(key)).to_bytes(4, "little")
