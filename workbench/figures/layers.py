"""Names of layers made short and put in the order of the network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def block_of(name: str) -> str:
    """The block a module belongs to: up to its first numbered part, else its first two parts.

    >>> block_of("encoder.layer.3.attention.query")
    'encoder.layer.3'
    >>> block_of("embeddings.word_embeddings.weight")
    'embeddings.word_embeddings'
    """
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: i + 1])
    return ".".join(parts[:2]) or "(outside any module)"


def by_block(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes added up by block."""
    total: dict[str, int] = {}
    for name, size in sizes.items():
        total[block_of(name)] = total.get(block_of(name), 0) + size
    return total


def in_order(names: Iterable[str]) -> list[str]:
    """Inputs first, numbered blocks by number, heads, the classifier, and last what belongs to no module."""
    return sorted(set(names), key=lambda n: (_rank(n), [_part(p) for p in re.split(r"(\d+)", n)]))


def _rank(name: str) -> int:
    lowered = name.lower()
    if any(word in lowered for word in ("embed", "stem", "patch")):
        return 0
    if any(word in lowered for word in ("classifier", "score", "lm_head")):
        return 3
    if any(word in lowered for word in ("head", "pool", "final")):
        return 2
    return 4 if lowered.startswith("(") else 1


def _part(text: str) -> tuple[int, int, str]:
    return (1, int(text), "") if text.isdigit() else (0, 0, text)


def short(name: str, width: int = 22) -> str:
    """The end of a long name, which is where layers differ."""
    return name if len(name) <= width else "…" + name[-(width - 1) :]
