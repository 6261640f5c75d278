"""The workspace probe: what one operator needs inside itself, found by running it once on its own sizes."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.core import paths
from workbench.core.alone import alone
from workbench.memory import ledger
from workbench.memory.dataless import with_data
from workbench.memory.fake import Strides
from workbench.memory.host import in_force
from workbench.memory.measure import fresh_bytes
from workbench.memory.shapes import mapped, without_generator
from workbench.memory.signature import signature
from workbench.memory.step import storages_of, tensors_in

LIMIT = 2**30  #: operators whose tensors exceed this many bytes are not executed
VERSION = 5  #: of what a book says; older ones may hold bytes that another thread allocated
MISMATCH = ("same dtype", "scalar type")  #: how kernels say that number formats do not go together


def host_key() -> str:
    """What workspace depends on beside the operator: torch, instruction set, number of threads."""
    found = in_force()
    mkldnn = "mkldnn" if found["mkldnn"] else "plain"
    capability = found["instructions"].replace(" ", "-")
    return f"{VERSION}-{torch.__version__}-{capability}-{mkldnn}-{found['threads']}-threads"


#: Bytes inside an operator, and the strides it returns where the fake kernel has them wrong.
Entry = tuple[int, Strides]


def _of_torch(signature: str) -> bool:
    """Whether the operator is torch's own. Others change without the version of torch telling, this project's and
    bitsandbytes' among them: they are probed by every process anew."""
    return signature.startswith(("aten::", "prims::"))


class Book:
    """Workspace by operator signature for this host, kept in one file with a line of JSON for each.

    Lines are only ever added, so several processes can write and each reads no more than what is new to it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or self.place()
        self.entries: dict[str, Entry] = {}
        self._read = 0
        self._fresh: dict[str, Entry] = {}
        self.refresh()

    @staticmethod
    def place() -> Path:
        """Where the book of this host is kept."""
        return paths.cache() / "workspace" / f"{host_key()}.jsonl"

    def refresh(self) -> None:
        """Take in lines that were added since the last time; what a kill has torn is passed over."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read:
                    self._read = 0  # another file by now
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            try:
                signature, inside, strides = json.loads(line)
                if _of_torch(str(signature)):
                    self.entries[str(signature)] = int(inside), strides
            except (ValueError, TypeError):
                continue

    def add(self, signature: str, entry: Entry) -> None:
        self.entries[signature] = entry
        if _of_torch(signature):
            self._fresh[signature] = entry

    def save(self) -> None:
        """Add what is new to the file, in one write; a full disk loses only the cache."""
        if not self._fresh:
            return
        lines = "".join(json.dumps([name, *entry]) + "\n" for name, entry in self._fresh.items())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(f"\n{lines}".encode() if self._torn() else lines.encode())
            self._fresh = {}
        except OSError:
            return

    def _torn(self) -> bool:
        """Whether the file ends inside a line, as a kill or a full disk leaves it."""
        with self.path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


@functools.cache
def _book_at(path: Path) -> Book:
    return Book(path)


def this_host() -> Book:
    """The book of this host, read once a process and brought up to date at each asking."""
    book = _book_at(Book.place())
    book.refresh()
    return book


class Probe:
    """Answers ``InsideBytes`` by executing each unique operator signature once under the ledger."""

    def __init__(self, book: Book | None = None, limit: int = LIMIT) -> None:
        self.book = book or this_host()
        self.limit = limit
        self.skipped: dict[str, int] = {}
        self.executed = 0
        self._window = ledger.Window()

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Entry | None:
        if func.is_view:
            return 0, None  # a view has no storage of its own and no kernel
        key = signature(func, args, kwargs)
        found = self.book.entries.get(key)
        if found is not None:
            return found
        size = sum({s._cdata: s.nbytes() for s in _storages((args, kwargs, result))}.values())
        if size > self.limit:
            return self._skip(func)
        entry = self._execute(func, args, kwargs, result)
        if entry is None:
            return self._skip(func)
        self.book.add(key, entry)
        return entry

    def _skip(self, func: Any) -> None:
        self.skipped[func.name()] = self.skipped.get(func.name(), 0) + 1

    @alone()  # the window sees what every thread allocates, and what it saw is kept for good
    def _execute(self, func: Any, args: Any, kwargs: Any, expected: Any) -> Entry | None:
        """What the operator does on real tensors, or ``None`` when it refuses invented values.

        Number formats are not invented: where a kernel refuses them, the real step would fail too, and so does this.
        """
        self.executed += 1
        real: dict[int, Tensor] = {}
        kwargs = without_generator(kwargs)
        state = torch.default_generator.get_state()
        try:
            values = mapped((args, kwargs), lambda t: with_data(t, real))
            before = {s._cdata for s in _storages(values)}
            self._window.open()
            result = func(*values[0], **values[1])
            rise = self._window.rise()
            result = _wanted(result, expected)
            return max(0, rise - fresh_bytes(result, before)), _strides(func, result, expected)
        except (RuntimeError, IndexError, ValueError) as error:
            if any(words in str(error) for words in MISMATCH):
                raise
            return None
        finally:
            torch.default_generator.set_state(state)


def _wanted(result: Any, expected: Any) -> Any:
    """Without the outputs that were not asked for: some kernels make them all the same and drop them at once."""
    if not isinstance(result, tuple) or not isinstance(expected, tuple) or len(result) != len(expected):
        return result
    return tuple(made if wanted is not None else None for made, wanted in zip(result, expected))


def _strides(func: Any, result: Any, expected: Any) -> Strides:
    """Strides of a real result where they differ from the expected ones (of equal shapes)."""
    if func._schema.is_mutable:
        return None
    real, fake = list(tensors_in(result)), list(tensors_in(expected))
    strided = all(t.layout is torch.strided for t in (*real, *fake))
    if not strided or [t.shape for t in real] != [t.shape for t in fake]:
        return None
    strides = [list(t.stride()) for t in real]
    return strides if strides != [list(t.stride()) for t in fake] else None


def _storages(value: Any) -> list[torch.UntypedStorage]:
    return [s for t in tensors_in(value) for s in storages_of(t)]
