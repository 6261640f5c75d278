"""How far predictions were from measurements, over all runs that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.style import looks
from workbench.figures.table import Column, Table
from workbench.records.schema import Quantity, RunRecord
from workbench.stats import mean

HOST = "this-host"  #: the device whose predicted step times are about the machine that measured


@dataclass(frozen=True)
class ErrorPoint:
    """One run or measurement: when it was made, predicted minus measured peak in bytes and as a share of the latter."""

    run: str
    created: str
    model: str
    method: str
    colour: str
    marker: str
    difference: int
    error: float


@dataclass(frozen=True)
class ErrorsInfo(FigureInfo):
    """All runs with both peaks, oldest first."""

    kind: ClassVar[str] = "errors"

    points: tuple[ErrorPoint, ...]
    worst: float | None

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "run": p.run,
                "created": p.created,
                "model": p.model,
                "method": p.method,
                "difference bytes": p.difference,
                "relative error": p.error,
            }
            for p in self.points
        ]


def _known(records: Sequence[RunRecord]) -> list[RunRecord]:
    return sorted((r for r in records if r.peak_error is not None), key=lambda r: r.created)


def errors(records: Sequence[RunRecord]) -> ErrorsInfo:
    """The error of the predicted peak of each run, in the order in which they were made."""
    known = _known(records)
    methods = list(dict.fromkeys(r.method for r in known))
    drawn = dict(zip(methods, looks(methods)))
    points = tuple(
        ErrorPoint(r.id, r.created, r.model, r.method, *drawn[r.method], _difference(r), r.peak_error or 0.0)
        for r in known
    )
    worst = max(points, key=lambda p: abs(p.error), default=None)
    return ErrorsInfo(
        title="Error of the predicted peak, run by run",
        caption=caption_of("Predicted minus measured peak as a share of the measured one.", tuple(r.id for r in known)),
        alt=errors_answer(records).partition("\n")[0],
        runs=tuple(r.id for r in known),
        points=points,
        worst=worst.error if worst else None,
    )


def _difference(record: RunRecord) -> int:
    assert record.predicted is not None and record.measured is not None
    return record.predicted.peak - record.measured.peak


def errors_answer(records: Sequence[RunRecord]) -> str:
    """How many runs, how many to the byte, and the worst, in one sentence; honest about an empty store."""
    known = _known(records)
    if not known:
        return (
            "No run that was looked at has both a predicted and a measured peak, so nothing can be said. Such pairs "
            "come from `pintpot run --method lora --profile quick` and from `pintpot measure --model tiny-bert`."
        )
    exact = sum(_difference(r) == 0 for r in known)
    worst = max(known, key=lambda r: abs(r.peak_error or 0))
    runs, agree = "run" if len(known) == 1 else "runs", "agrees" if exact == 1 else "agree"
    text = f"Of {len(known)} {runs} with a prediction and a measurement, {exact} {agree} to the byte"
    if exact == len(known):
        return f"{text}."
    off = format_size(abs(_difference(worst)))
    return f"{text}; the worst error is {worst.peak_error:+.3%} ({off}) for {worst.method} on {worst.model}."


def errors_table(records: Sequence[RunRecord]) -> Table:
    """Worst and mean error of the predicted peak by model and method, with the step time where it was predicted."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in _known(records):
        groups.setdefault((record.model, record.method), []).append(record)
    columns = (
        Column("model", "Model"),
        Column("method", "Method"),
        Column("runs", "Runs", "count"),
        Column("exact", "To the byte", "count"),
        Column("worst_bytes", "Worst", "difference"),
        Column("worst", "Worst error", "share"),
        Column("mean", "Mean error", "share"),
        Column("time", "Step time error", "share"),
        Column("last", "Last run"),
    )
    text = (
        "Errors are predicted minus measured; of a method that chooses anew what trains, both are of its dearest "
        "choice, a bound on the steps taken. The step time is compared where a run predicted it for the machine that "
        "measured it; a dash says that none did."
    )
    return Table(columns, tuple(_row(key, runs) for key, runs in sorted(groups.items())), text)


def _row(key: tuple[str, str], runs: Sequence[RunRecord]) -> dict[str, Any]:
    worst = max(runs, key=lambda r: abs(r.peak_error or 0))
    times = [t for t in map(_time_error, runs) if t is not None]
    return {
        "model": key[0],
        "method": key[1],
        "runs": len(runs),
        "exact": sum(_difference(r) == 0 for r in runs),
        "worst_bytes": _difference(worst),
        "worst": worst.peak_error,
        "mean": mean([r.peak_error or 0.0 for r in runs]),
        "time": max(times, key=abs, default=None),
        "last": max(r.created for r in runs)[:16].replace("T", " "),
    }


def _time_error(record: RunRecord) -> float | None:
    """(predicted - measured) / measured of the step time, when both are about the same machine.

    A roofline is an extrapolation, whose distance from a measurement is no error of the predictor.
    """
    predicted, measured = record.device_step_time, record.step_time
    if predicted is not None and predicted.kind != "predicted":
        return None
    if record.device != HOST or not _value(predicted) or not _value(measured) or measured.kind != "measured":  # type: ignore[union-attr]
        return None
    return (_value(predicted) - _value(measured)) / _value(measured)


def _value(quantity: Quantity | None) -> float:
    return float(quantity.value) if quantity is not None and quantity.value else 0.0
