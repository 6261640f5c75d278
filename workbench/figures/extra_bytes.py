"""Score against the bytes of SRAM that an update scheme takes beyond training the head alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from workbench.core.units import format_size
from workbench.figures.info import FigureInfo, caption_of, percent
from workbench.records.schema import RunRecord
from workbench.stats import score_interval


class Arm(Protocol):
    """See :class:`workbench.studies.byte_arms.ByteArm`."""

    @property
    def group(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def extra(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def scores(self) -> tuple[float, ...]: ...
    @property
    def records(self) -> tuple[RunRecord, ...]: ...


@dataclass(frozen=True)
class BytePoint:
    """One scheme: mean score, its 95 % interval where there are seeds enough, extra bytes; ``lr`` is its rate."""

    label: str
    extra: int
    lr: float
    score: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class ByteLine:
    """Schemes of one family by bytes."""

    group: str
    points: tuple[BytePoint, ...]


@dataclass(frozen=True)
class ExtraBytesInfo(FigureInfo):
    """One line for each family."""

    kind: ClassVar[str] = "extra_bytes"

    lines: tuple[ByteLine, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"family": line.group, "scheme": p.label, "extra bytes": p.extra, "rate": p.lr, "score": p.score,
             "low": p.low, "high": p.high, "seeds": p.count}
            for line in self.lines
            for p in line.points
        ]  # fmt: skip


def extra_bytes(arms: Sequence[Arm]) -> ExtraBytesInfo:
    """The picture of :func:`workbench.studies.byte_arms.byte_arms`."""
    groups = dict.fromkeys(a.group for a in arms)
    lines = tuple(
        ByteLine(g, tuple(sorted((_point(a) for a in arms if a.group == g), key=lambda p: p.extra))) for g in groups
    )
    best = max((p for line in lines for p in line.points if p.score is not None), key=_score, default=None)
    said = ""
    if best is not None:
        said = f"The best is {best.label} with {percent(_score(best))} at {format_size(best.extra)} more."
    return ExtraBytesInfo(
        title="What further bytes buy",
        caption=caption_of(
            "SRAM of the planned step on one example beyond training the head alone (exact), against test score "
            "(measured; mean and 95 % interval over seeds). Each scheme has the rate of its own grid with the lowest "
            "training loss; the searched one was found without the test set.",
            [r.id for a in arms for r in a.records],
        ),
        alt=f"Score against extra bytes of {', '.join(groups)}. {said}".strip(),
        runs=tuple(r.id for a in arms for r in a.records),
        lines=lines,
    )


def _score(point: BytePoint) -> float:
    return point.score if point.score is not None else float("-inf")


def _point(arm: Arm) -> BytePoint:
    if not arm.scores:
        return BytePoint(arm.label, arm.extra, arm.lr, None, None, None, 0)
    found = score_interval(arm.scores, int(arm.records[0].score.get("count", 0)))
    return BytePoint(arm.label, arm.extra, arm.lr, found.mean, found.low, found.high, len(arm.scores))
