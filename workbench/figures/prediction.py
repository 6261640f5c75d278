"""Predicted against measured peak, run by run, with the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.groups import group
from workbench.figures.info import FigureInfo, caption_of
from workbench.records.schema import RunRecord


@dataclass(frozen=True)
class PredictionPoint:
    """One run: peaks in bytes, ``error`` = (predicted - measured) / measured, ``tier`` of the prediction."""

    label: str
    method: str
    colour: str
    marker: str
    run: str
    predicted: int
    measured: int
    error: float
    tier: str


@dataclass(frozen=True)
class PredictionInfo(FigureInfo):
    """All runs that have both a prediction and a measurement."""

    kind: ClassVar[str] = "prediction"

    points: tuple[PredictionPoint, ...]
    worst: float | None

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": p.label,
                "run": p.run,
                "predicted bytes": p.predicted,
                "measured bytes": p.measured,
                "difference bytes": p.predicted - p.measured,
                "relative error": p.error,
                "tier": p.tier,
            }
            for p in self.points
        ]


def prediction(records: Sequence[RunRecord]) -> PredictionInfo:
    """Predicted and measured peak of every run that has both."""
    points = tuple(
        PredictionPoint(
            g.label,
            g.method,
            g.colour,
            g.marker,
            r.id,
            r.predicted.peak,
            r.measured.peak,
            r.peak_error,
            r.predicted.source.value,
        )
        for g in group(records)
        for r in g.runs
        if r.predicted is not None and r.measured is not None and r.peak_error is not None
    )
    runs = tuple(p.run for p in points)
    worst = max(points, key=lambda p: abs(p.error), default=None)
    alt = "No run has both a predicted and a measured peak."
    if worst is not None:
        alt = (
            f"Predicted against measured peak of {len(points)} runs; the largest error is "
            f"{worst.error:+.2%} for {worst.label}."
        )
    return PredictionInfo(
        title="Predicted against measured peak",
        caption=caption_of(
            "On the diagonal the prediction is exact; names carry predicted minus measured where the two differ.", runs
        ),
        alt=alt,
        runs=runs,
        points=points,
        worst=worst.error if worst else None,
    )
