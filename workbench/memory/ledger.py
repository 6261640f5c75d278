"""The ledger: exact count, peak and hard limit of every byte that torch allocates on the CPU.

It is the truth that predictions are judged by. Cost: two atomic additions and one table entry per
allocation (7 % of one of 64 KiB where this was written; ``benchmarks/ledger.py`` measures it here).
Without a C++ compiler ``available()`` is false and ``reason()`` says why.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.core.alone import alone
from workbench.core.errors import ResourceMissing

_UNLIMITED = 2**63 - 1


@dataclass(frozen=True)
class Refusal:
    """The allocation that was refused; bytes, counted from the beginning of the counting context."""

    asked: int
    live: int
    limit: int


_SOURCE = Path(__file__).parent / "csrc" / "ledger.cpp"


@functools.cache
def _library() -> ctypes.PyDLL | str:
    """The loaded and installed library, or the sentence why there is none."""
    from workbench.memory.compiler import compiled

    try:
        library = ctypes.PyDLL(str(compiled(_SOURCE)))
    except (ResourceMissing, OSError) as error:
        return str(error)
    for name in (
        "live",
        "peak",
        "count",
        "limit",
        "refusals",
        "open_window",
        "window_peak",
        "recorded",
        "interruptible",
    ):
        getattr(library, f"ledger_{name}").restype = ctypes.c_int64
    for name in ("set_peak", "set_limit", "interrupt", "interruptible"):
        getattr(library, f"ledger_{name}").argtypes = [ctypes.c_int64]
    library.ledger_recorded.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    numbers = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    library.ledger_arena_open.argtypes = numbers
    if library.ledger_install() != 0:
        return "torch's CPU allocator cannot be wrapped here"
    return library


def compile_ahead() -> None:
    """Begin to compile beside what this process does next; who needs the ledger waits for it as ever."""
    from workbench.memory.compiler import compiled

    def compile_quietly() -> None:
        with contextlib.suppress(ResourceMissing):  # said where the ledger is needed
            compiled(_SOURCE)

    threading.Thread(target=compile_quietly, name="compile-ledger", daemon=True).start()


def available() -> bool:
    """Whether bytes can be counted exactly; the first call compiles (about 5 s once per machine)."""
    return not isinstance(_library(), str)


def reason() -> str:
    """Why the ledger is not available; empty when it is."""
    library = _library()
    return library if isinstance(library, str) else ""


def loaded() -> ctypes.PyDLL:
    library = _library()
    if isinstance(library, str):
        raise ResourceMissing(f"workspace cannot be measured: {library}")
    return library


class Counting:
    """What was allocated since the context began. Sizes in bytes; frees of older tensors count negative."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library
        self._outer = int(library.ledger_limit())
        self._base = int(library.ledger_live())
        self._count = int(library.ledger_count())
        self._refusals = int(library.ledger_refusals())
        self._closed: tuple[int, int, int] | None = None

    @property
    def live(self) -> int:
        return self._closed[0] if self._closed else int(self._library.ledger_live()) - self._base

    @property
    def peak(self) -> int:
        return self._closed[1] if self._closed else int(self._library.ledger_peak()) - self._base

    @property
    def allocations(self) -> int:
        return self._closed[2] if self._closed else int(self._library.ledger_count()) - self._count

    @property
    def refusal(self) -> Refusal | None:
        """The last allocation refused since the context began."""
        if int(self._library.ledger_refusals()) == self._refusals:
            return None
        out = (ctypes.c_int64 * 3)()
        self._library.ledger_refusal(out)
        return Refusal(int(out[0]), int(out[1]) - self._base, int(out[2]) - self._base)

    def allow(self, budget: int) -> None:
        """Refuse from now on what would pass ``budget`` bytes; a limit from outside the context stays."""
        self._library.ledger_set_limit(min(self._outer, self._base + budget))

    def _close(self) -> None:
        self._closed = (self.live, self.peak, self.allocations)


@contextmanager
def counting(budget: int | None = None) -> Iterator[Counting]:
    """Count allocations of all threads of this process; refuse the one that would pass ``budget`` bytes.

    The refusal is a ``torch.OutOfMemoryError`` raised before the allocation. Contexts nest; an inner budget
    cannot loosen an outer one. Only one thread counts at a time. Raises ``ResourceMissing`` when the ledger is not
    available.
    """
    library = loaded()
    with alone():
        outer_peak = int(library.ledger_peak())
        count = Counting(library)
        library.ledger_set_peak(count._base)
        if budget is not None:
            count.allow(budget)
        try:
            yield count
        finally:
            library.ledger_set_limit(count._outer)
            count._close()
            library.ledger_set_peak(max(outer_peak, int(library.ledger_peak())))


@contextmanager
def interruptible(number: int) -> Iterator[None]:
    """Inside, an allocation of this thread raises ``RuntimeError`` once :func:`interrupt` has called ``number``.

    Does nothing where the ledger is not available.
    """
    library = _library()
    if isinstance(library, str):
        yield
        return
    outer = library.ledger_interruptible(number)
    try:
        yield
    finally:
        library.ledger_interruptible(outer)


def uninterruptible() -> None:
    """Let this thread go on until the context that made it interruptible is left."""
    library = _library()
    if not isinstance(library, str):
        library.ledger_interruptible(0)


def interrupt(number: int) -> None:
    """End what the thread with this number does; any thread may call it, and the last number called counts."""
    loaded().ledger_interrupt(number)


class Window:
    """Highest live bytes during one operator, above what was live when it began."""

    def __init__(self) -> None:
        library = loaded()
        self._open, self._peak = library.ledger_open_window, library.ledger_window_peak
        self._start = 0

    def open(self) -> None:
        self._start = self._open()

    def rise(self) -> int:
        return int(self._peak() - self._start)


@contextmanager
def recording(*, this_thread: bool = False) -> Iterator[list[tuple[int, int]]]:
    """Collect ``(size, address)`` of every allocation (positive) and free (negative size) in order.

    With ``this_thread`` only what the calling thread does.
    """
    library = loaded()
    events: list[tuple[int, int]] = []
    with alone():
        library.ledger_record(2 if this_thread else 1)
        try:
            yield events
        finally:
            library.ledger_record(0)
            n = int(library.ledger_recorded(None, None, 0))
            sizes, addresses = (ctypes.c_int64 * n)(), (ctypes.c_uint64 * n)()
            library.ledger_recorded(sizes, addresses, n)
            events.extend(zip(map(int, sizes), map(int, addresses)))
