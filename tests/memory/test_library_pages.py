"""Library pages are given back, changed and foreign ones are not, and what is used again is as it was."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest
import torch

from workbench.memory import library_pages

needs_maps = pytest.mark.skipif(not library_pages.MAPS.exists(), reason="the system does not list its mappings")


def _resident_of_files() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0]) * 1024


def _read_only(path: Path, changed: bytes = b"") -> mmap.mmap:
    """The file mapped privately, its first bytes changed in memory alone, then made read-only."""
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    mapped[: len(changed)] = changed
    assert mapped[-1:] == b"\1"  # the last page is resident
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), mmap.PROT_READ) == 0
    return mapped


@needs_maps
def test_what_only_starting_touched_is_given_back():
    torch.ones(8, 8).svd()
    before = _resident_of_files()
    given = library_pages.give_back()
    assert given > 10 * 2**20
    assert _resident_of_files() < before - given / 2
    assert torch.equal(torch.ones(8, 8) @ torch.ones(8, 8), torch.full((8, 8), 8.0))


@needs_maps
@pytest.mark.parametrize(
    ("name", "changed", "left"),
    [
        ("libplain.so", b"", False),
        ("libplain.so.1.2", b"", False),
        ("libplain.so", b"mine", True),
        ("w.bin", b"", True),
    ],
    ids=["library", "library with a version", "changed in memory", "data"],
)
def test_only_pages_of_unchanged_libraries_are_given_back(tmp_path, name, changed, left):
    path = tmp_path / name
    path.write_bytes(b"\1" * 64 * 4096)
    mapped = _read_only(path, changed)
    library_pages.give_back()
    lines = iter(library_pages.MAPS.read_text().splitlines())
    resident = next(line for line in lines if line.endswith(str(path))) and next(
        int(line.split()[1]) for line in lines if line.startswith("Rss:")
    )
    assert (resident > 0) == left
    assert mapped[:4] == (changed or b"\1" * 4)
    assert path.read_bytes() == b"\1" * 64 * 4096


def test_without_a_list_of_mappings_nothing_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(library_pages, "MAPS", tmp_path / "none")
    assert library_pages.give_back() == 0


LISTED = """\
7f0000000000-7f0000004000 {may} 00000000 08:01 42                         /usr/lib/{name}
Size:                 16 kB
Rss:                  12 kB
Anonymous:             {anonymous} kB
Swap:                  {swap} kB
VmFlags: rd ex mr mw me
7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
"""


@pytest.mark.parametrize(
    ("different", "given"),
    [
        ({}, 12 * 1024),
        ({"anonymous": 4}, 0),
        ({"swap": 4}, 0),  # changed, and now in swap: no longer anonymous memory, but not the file's page either
        ({"may": "rw-p"}, 0),
        ({"may": "r-xs"}, 0),
        ({"name": "weights.safetensors"}, 0),
        ({"name": "lib.so (deleted)"}, 0),
    ],
    ids=str,
)
def test_which_mappings_are_the_files_own(different, given):
    listed = LISTED.format(**{"may": "r-xp", "anonymous": 0, "swap": 0, "name": "libtorch_cpu.so"} | different)
    assert sum(size for *_, size in library_pages._unchanged(listed.splitlines())) == given
