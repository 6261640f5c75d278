"""What a finished run can be measured by, each number with its kind, and its spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.core.units import format_size
from workbench.figures.groups import metric_of
from workbench.figures.table import show_value
from workbench.records.schema import Quantity, RunRecord, State
from workbench.stats import score_interval, t_interval

Number = tuple[float, str]  #: a value and its kind
Read = Callable[[RunRecord], Number | None]

#: Known without training: by prediction, and for a device by counted work.
BEFOREHAND = ("peak", "device_step_time", "device_step_energy")


@dataclass(frozen=True)
class Measure:
    """``unit`` says how a value is printed: score, bytes, seconds, joules, count or number."""

    key: str
    title: str
    unit: str
    lower_is_better: bool


@dataclass(frozen=True)
class Spread:
    """Mean over seeds with its 95 % interval, and each seed; ``kind`` is that of the numbers, as in measured."""

    mean: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    kind: str


def measures(records: Sequence[RunRecord], always: Sequence[str] = ()) -> list[tuple[Measure, Read]]:
    """The measures that at least one run knows, and those of the keys in ``always``; the score first."""
    scored = metric_of(records)
    unit = "score" if scored.share else "number"
    known: list[tuple[Measure, Read]] = [
        (Measure("score", scored.name, unit, scored.lower_is_better), _score),
        (Measure("peak", "peak memory", "bytes", True), peak_of),
        (Measure("step_time", "step time on this host", "seconds", True), _of("step_time")),
        (Measure("device_step_time", "step time on the device", "seconds", True), _of("device_step_time")),
        (Measure("device_step_energy", "energy of a step on the device", "joules", True), _of("device_step_energy")),
        (Measure("last_loss", "training loss at the end", "number", True), _last_loss),
        (Measure("trainable", "trainable parameters", "count", True), _of("trainable")),
        (Measure("adapter_bytes", "saved adapter", "bytes", True), _of("adapter_bytes")),
    ]
    return [(m, read) for m, read in known if m.key in always or any(read(r) is not None for r in records)]


def value_of(record: RunRecord, measure: Measure, read: Read) -> Number | None:
    """What a finished run came to; what is said before the first step is known of refused ones too."""
    return read(record) if record.state is State.DONE or measure.key in BEFOREHAND else None


def spread(records: Sequence[RunRecord], measure: Measure, read: Read) -> Spread | None:
    """Over those of ``records`` that know the measure; None where none does."""
    usable = [(r, v) for r in records if (v := value_of(r, measure, read)) is not None]
    if not usable:
        return None
    numbers = [number for _, (number, _) in usable]
    count = usable[0][0].score.get("count")
    interval = score_interval(numbers, count) if measure.unit == "score" else t_interval(numbers)
    low = interval.low
    if low is not None and measure.unit not in ("score", "number"):
        low = max(0.0, low)  # no step takes less than no time, and nothing holds less than no bytes
    return Spread(interval.mean, low, interval.high, tuple(numbers), kinds([v for _, v in usable]))


def kinds(numbers: Sequence[Number]) -> str:
    """The kinds of some numbers in words, each once."""
    return " and ".join(sorted({kind for _, kind in numbers}))


def peak_of(record: RunRecord) -> Number | None:
    """The highest measured peak of any step in bytes, else the predicted one."""
    peaks = [s.peak for s in record.steps if s.peak is not None]
    peaks += [record.measured.peak] if record.measured else []
    if peaks:
        return max(peaks), "measured"
    return (record.predicted.peak, "predicted") if record.predicted else None


def printed(value: float, unit: str) -> str:
    """A value of a measure as the drawings print it."""
    return format_size(round(value)) if unit == "bytes" else show_value(value, {"number": "text"}.get(unit, unit))


def _score(record: RunRecord) -> Number | None:
    value = record.score.get("value")
    return None if value is None else (float(value), "measured")


def _last_loss(record: RunRecord) -> Number | None:
    """The mean of the last tenth of the steps, which a single noisy batch does not decide."""
    tail = record.steps[-max(1, len(record.steps) // 10) :]
    return (sum(s.loss for s in tail) / len(tail), "measured") if tail else None


def _of(name: str) -> Read:
    def read(record: RunRecord) -> Number | None:
        quantity = getattr(record, name)
        if isinstance(quantity, Quantity):
            return None if quantity.value is None else (quantity.value, quantity.kind)
        return None if quantity is None else (quantity, "counted")

    return read
