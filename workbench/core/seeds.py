"""Named random streams: one user seed, any number of independent streams derived from it."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """A 32-bit seed for the stream called ``names``. torch's CPU generator keeps only the low 32 bits."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
