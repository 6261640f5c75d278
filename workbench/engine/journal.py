"""A zeroth-order run as the numbers that made it: seed and scale of every update, twelve bytes each.

Added to the weights the run began with, they give the weights it ended with, bit for bit. Only runs whose rule adds
(plain SGD) can be written down: other rules have state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from workbench.core.errors import BadInput
from workbench.engine.noise import KINDS, Noise, numbered

_ENTRY = np.dtype([("seed", "<u4"), ("scale", "<f8")])
_HEAD = np.dtype([("mark", "S8"), ("kind", "<u4"), ("terms", "<u4")])
_MARK = b"journal1"


@dataclass
class Journal:
    """Updates in order; each is the same number of (seed, scale) terms, added to the weights in one pass.

    ``kind`` is the kind of noise. Seeds are 32-bit, as :func:`workbench.core.seeds.derive` makes them.
    """

    kind: str = "gaussian"
    updates: list[tuple[tuple[int, ...], tuple[float, ...]]] = field(default_factory=list)

    def write(self, seeds: Sequence[int], scales: Sequence[float]) -> None:
        if self.updates and len(self.updates[0][0]) != len(seeds):
            raise BadInput("seeds", len(seeds), f"{len(self.updates[0][0])} terms, as in the first update")
        if any(not 0 <= seed < 2**32 for seed in seeds):
            raise BadInput("seeds", max(seeds), "seeds of 32 bits")
        self.updates.append((tuple(seeds), tuple(scales)))

    def replay(self, weights: Sequence[Tensor]) -> None:
        """Add every update to ``weights`` (in place, in order), numbered as the run had its trained tensors."""
        places = numbered(range(len(weights)))
        for seeds, scales in self.updates:
            Noise(seeds, scales, self.kind).add_([w.detach() for w in weights], places)

    def to_bytes(self) -> bytes:
        """Sixteen bytes, then twelve for each term."""
        terms = len(self.updates[0][0]) if self.updates else 1
        head = np.array([(_MARK, KINDS.index(self.kind), terms)], _HEAD)
        entries = [pair for seeds, scales in self.updates for pair in zip(seeds, scales, strict=True)]
        return head.tobytes() + np.array(entries, _ENTRY).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Journal:
        """What :meth:`to_bytes` wrote; raises ``BadInput`` for anything else."""
        size = len(data) - _HEAD.itemsize
        head = np.frombuffer(data, _HEAD, 1)[0] if size >= 0 else None
        if head is None or head["mark"] != _MARK or head["kind"] >= len(KINDS) or not head["terms"]:
            raise BadInput("journal", f"{len(data)} bytes", "a journal of seeds and scales")
        terms = int(head["terms"])
        if size % (_ENTRY.itemsize * terms):
            raise BadInput("journal", f"{len(data)} bytes", f"whole updates of {terms} terms; it was cut short")
        entries = np.frombuffer(data, _ENTRY, offset=_HEAD.itemsize)
        journal = cls(KINDS[head["kind"]])
        for first in range(0, len(entries), terms):
            update = entries[first : first + terms]
            journal.write(update["seed"].tolist(), update["scale"].tolist())
        return journal
