"""Which tensors trained in which epoch: one line for each choice, from the output on the left to the input."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.groups import group
from workbench.figures.info import FigureInfo, caption_of, percent
from workbench.records.schema import RunRecord

NEAR = 0.02  #: share of a target that a choice of whole tensors may leave without a word


@dataclass(frozen=True)
class Line:
    """One choice: ``share`` of full tuning's operations, and for every tensor its importance (1 for the greatest of its
    choice; 0 where it is not known) and whether it trains."""

    label: str
    epoch: int  #: from 0; readers count from 1
    share: float
    target: float
    importance: tuple[float, ...]
    chosen: tuple[bool, ...]

    @property
    def short(self) -> float:
        """Share of the target that no further tensor could spend."""
        return 1 - self.share / self.target

    @property
    def depths(self) -> tuple[float | None, ...]:
        """How dark each tensor is drawn, 0.25 to 1, the root of its importance; None where it does not train."""
        known = any(self.importance)
        return tuple(
            (0.25 + 0.75 * math.sqrt(max(0.0, worth)) if known else 0.6) if trains else None
            for worth, trains in zip(self.importance, self.chosen)
        )


@dataclass(frozen=True)
class Stretch:
    """Neighbouring tensors of one block: places from ``start`` up to ``end``."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class ScheduleInfo(FigureInfo):
    """All choices of one seed of each arm."""

    kind: ClassVar[str] = "schedule"

    tensors: tuple[str, ...]
    stretches: tuple[Stretch, ...]
    lines: tuple[Line, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"arm": line.label, "epoch": line.epoch + 1, "tensor": name, "importance": worth, "trains": chosen}
            for line in self.lines
            for name, worth, chosen in zip(self.tensors, line.importance, line.chosen)
        ]


def schedule(records: Sequence[RunRecord]) -> ScheduleInfo:
    """The choices of the first seed of every arm that chooses; arms on another model are left out."""
    firsts = [(g.label, next(r for r in g.runs if r.choices)) for g in group(records) if any(r.choices for r in g.runs)]
    tensors = tuple(firsts[0][1].choices[0]["tensors"]) if firsts else ()
    firsts = [(label, r) for label, r in firsts if tuple(r.choices[0]["tensors"]) == tensors]
    lines = tuple(_line(label, choice) for label, record in firsts for choice in record.choices)
    runs = tuple(record.id for _, record in firsts)
    return ScheduleInfo(
        title="What trains in which epoch",
        caption=caption_of(
            "One column for each tensor, the output on the left; one line for each choice. Filled tensors train, the "
            "darker the more important; empty ones do not. First seed of each arm. " + _shortfalls(lines),
            runs,
        ),
        alt=_alt(lines, len(tensors)),
        runs=runs,
        tensors=tensors,
        stretches=_stretches(tensors),
        lines=lines,
    )


def _shortfalls(lines: Sequence[Line]) -> str:
    """Which choices lie more than two per cent below their target."""
    names = dict.fromkeys(f"{x.label} in epoch {x.epoch + 1} by {percent(x.short)}" for x in lines if x.short > NEAR)
    if not names:
        return f"Every choice is within {percent(NEAR)} of its target." if lines else ""
    return f"Below their target, as no further tensor fits beside those chosen: {', '.join(names)}."


def _line(label: str, choice: Any) -> Line:
    full = choice["full"]
    return Line(
        label,
        int(choice["epoch"]),
        (choice["forward"] + choice["cost"]) / full,
        (choice["forward"] + choice["budget"]) / full,
        tuple(float(v) for v in choice["importance"]),
        tuple(bool(v) for v in choice["chosen"]),
    )


def _stretches(tensors: Sequence[str]) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    for place, name in enumerate(tensors):
        label = _block(name)
        if found and found[-1].label == label:
            found[-1] = Stretch(label, found[-1].start, place + 1)
        else:
            found.append(Stretch(label, place, place + 1))
    return tuple(found)


def _block(name: str) -> str:
    """The number of the block, or the part of the model that is in none."""
    numbered = re.search(r"\.(\d+)\.", name)
    if numbered:
        return numbered.group(1)
    return "embeddings" if "embed" in name else name.rpartition(".")[0].rpartition(".")[2] or name


def _alt(lines: Sequence[Line], count: int) -> str:
    if not lines:
        return "No run chose what trains."
    parts = [
        f"{line.label} in epoch {line.epoch + 1} trains {sum(line.chosen)} of {count} tensors for {percent(line.share)}"
        for line in lines
    ]
    return f"{'; '.join(parts)} of full tuning's operations."
