"""Pages of shared libraries that a process has touched, most of them once, while it started."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

MAPS = Path("/proc/self/smaps")  #: Linux's list of a process's mappings
_LIBRARY = re.compile(r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<may>\S{4}) \S+ \S+ \d+ +.*\.so(\.[\d.]+)?$")


def give_back() -> int:
    """Let go of every resident library page that the process has not changed, and return their bytes.

    What is used again comes back from the file as it is used (a minor fault of some microseconds per 64 KiB while
    the file is cached); what only importing needed does not. 0 where the system does not list its mappings.
    """
    if not MAPS.exists() or not hasattr(mmap, "MADV_DONTNEED"):
        return 0
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with MAPS.open() as lines:  # line by line: the whole list is larger than what Python gives back
        unchanged = list(_unchanged(lines))
    given = 0
    for start, end, resident in unchanged:
        if advise(start, end - start, mmap.MADV_DONTNEED) == 0:
            given += resident
    return given


def _unchanged(lines: Iterable[str]) -> Iterator[tuple[int, int, int]]:
    """Start, end and resident bytes of private mappings of libraries that hold nothing but what the file holds."""
    for mapping, fields in _mappings(lines):
        found = _LIBRARY.match(mapping)
        if not found or "w" in found["may"] or found["may"][3] != "p":
            continue
        changed = fields.get("Anonymous", 1) + fields.get("Swap", 1)  # a changed page, once dropped, would be lost
        if fields.get("Rss", 0) and not changed:
            yield int(found["start"], 16), int(found["end"], 16), fields["Rss"]


def _mappings(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, int]]]:
    """Each mapping's own line with the sizes that are listed below it, bytes by name."""
    mapping, fields = "", dict[str, int]()
    for line in lines:
        name, *rest = line.split()
        if not name.endswith(":"):
            yield mapping, fields
            mapping, fields = line, {}
        elif rest and rest[-1] == "kB":
            fields[name[:-1]] = int(rest[0]) * 1024
    yield mapping, fields
