"""How far each layer moved when it last trained, over the steps of a run: the picture that decides what is frozen."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.info import FigureInfo, caption_of
from workbench.records.schema import RunRecord


@dataclass(frozen=True)
class DynamicsInfo(FigureInfo):
    """``logarithms[i][j]``: decimal logarithm of how far layer i had moved by step j; None where it never trained."""

    kind: ClassVar[str] = "dynamics"

    arm: str
    layers: tuple[str, ...]
    steps: tuple[int, ...]
    logarithms: tuple[tuple[float | None, ...], ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"layer": layer, "step": step, "log10 of the relative distance": value}
            for layer, line in zip(self.layers, self.logarithms)
            for step, value in zip(self.steps, line)
        ]


def dynamics(records: Sequence[RunRecord]) -> DynamicsInfo:
    """The first run whose steps say how far layers moved; layers in the model's order."""
    chosen = next((r for r in records if any(s.extras for s in r.steps)), None)
    seen = [s for s in chosen.steps if s.extras] if chosen else []
    layers = _in_order({name for s in seen for name in s.extras})
    lines = tuple(tuple(_log(s.extras.get(layer)) for s in seen) for layer in layers)
    arm = f"{chosen.method} frozen={chosen.config.get('frozen')}" if chosen else ""
    runs = (chosen.id,) if chosen else ()
    last = sorted((line[-1], layer) for layer, line in zip(layers, lines) if line and line[-1] is not None)
    said = f"At the end {last[-1][1]} has moved most and {last[0][1]} least." if last else "No run watched its layers."
    return DynamicsInfo(
        title="How far each layer moved when it last trained",
        caption=caption_of(
            f"Decimal logarithm of mean |w - w'| / |w'|, of {arm}. Empty until a layer's first turn; layers that moved "
            "most train next, and a frozen one keeps its colour.",
            runs,
        ),
        alt=f"Relative distances of {len(layers)} layers over {len(seen)} watched steps. {said}",
        runs=runs,
        arm=arm,
        layers=layers,
        steps=tuple(s.step + 1 for s in seen),
        logarithms=lines,
    )


def _log(value: float | None) -> float | None:
    return None if value is None else math.log10(max(value, 1e-12))


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Embeddings, blocks by number, the head; by name inside each."""

    def key(name: str) -> tuple[int, int, str]:
        numbered = re.search(r"\.(\d+)\.", name)
        if numbered:
            return 1, int(numbered.group(1)), name
        return (0, 0, name) if "embed" in name else (2, 0, name)

    return tuple(sorted(names, key=key))
