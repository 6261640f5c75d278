"""Ways to damage a file, as disks, transfers and people do."""

from __future__ import annotations

import random
from pathlib import Path

KINDS = ("flipped", "torn", "missing")


def flip(file: Path, chance: random.Random, first: int = 0) -> None:
    """One bit, anywhere from byte ``first`` on."""
    raw = bytearray(file.read_bytes())
    raw[chance.randrange(first, len(raw))] ^= 1 << chance.randrange(8)
    file.write_bytes(raw)


def tear(file: Path, chance: random.Random) -> None:
    """The end is cut off, at any byte."""
    raw = file.read_bytes()
    file.write_bytes(raw[: chance.randrange(len(raw))])


def harm(file: Path, kind: str, chance: random.Random) -> None:
    if kind == "missing":
        file.unlink()
    else:
        {"flipped": flip, "torn": tear}[kind](file, chance)
