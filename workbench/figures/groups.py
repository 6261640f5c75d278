"""Runs of one method and one configuration, taken together over their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.core.profile import MemoryProfile
from workbench.figures.info import percent
from workbench.figures.style import looks
from workbench.records.schema import RunRecord, State
from workbench.stats import Interval, score_interval

LONGEST = 44  #: characters of settings in a label
REFERENCE = "reference, run without the budget"

#: A run is judged by its worst state: one diverged seed is not hidden by two that went well.
_WORST = (
    State.FAILED,
    State.DIVERGED,
    State.OVER_BUDGET,
    State.OUT_OF_MEMORY,
    State.REFUSED,
    State.CANCELLED,
    State.PREDICTED,
    State.RUNNING,
    State.DONE,
)


@dataclass(frozen=True)
class Group:
    """All seeds of one method in one configuration. ``label`` is unique among the groups of one call.

    ``reference``: run without the budget that the other runs had, so that one sees what the budget costs.
    """

    label: str
    method: str
    family: str
    runs: tuple[RunRecord, ...]
    colour: str
    marker: str
    reference: bool = False

    @property
    def name(self) -> str:
        """The label with the word that it is a reference."""
        return f"{self.label} ({REFERENCE})" if self.reference else self.label

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(r.id for r in self.runs)

    @property
    def state(self) -> State:
        return min((r.state for r in self.runs), key=_WORST.index)

    @property
    def reason(self) -> str:
        """Why not every run is done: the reasons of the worst state, once each."""
        reasons = dict.fromkeys(r.reason for r in self.runs if r.state is self.state and r.reason)
        return "; ".join(reasons)

    @property
    def scored(self) -> tuple[RunRecord, ...]:
        """Finished runs with a score; a cancelled run's partial score is kept out of means."""
        return tuple(r for r in self.runs if r.state is State.DONE and r.score.get("value") is not None)

    @property
    def by_seed(self) -> dict[int, float]:
        return {r.seed: float(r.score["value"]) for r in self.scored}

    @property
    def interval(self) -> Interval | None:
        """Mean score and 95 % interval over finished seeds; None when none finished."""
        runs = self.scored
        if not runs:
            return None
        # Only a share of examples has an interval over them.
        count = runs[0].score.get("count") if self.metric.share else None
        return score_interval([float(r.score["value"]) for r in runs], count)

    @property
    def metric(self) -> Metric:
        """What its runs are scored by."""
        return metric_of(self.runs)

    @property
    def measured(self) -> MemoryProfile | None:
        """The measured profile with the highest peak among the seeds."""
        profiles = [r.measured for r in self.runs if r.measured is not None]
        return max(profiles, key=lambda p: p.peak, default=None)

    @property
    def predicted(self) -> MemoryProfile | None:
        profiles = [r.predicted for r in self.runs if r.predicted is not None]
        return max(profiles, key=lambda p: p.peak, default=None)

    @property
    def profile(self) -> MemoryProfile | None:
        """Measured where there is a measurement, else predicted."""
        return self.measured or self.predicted

    @property
    def measured_peak(self) -> int | None:
        """The highest measured peak of any seed or of any recorded step, in bytes."""
        peaks = [r.measured.peak for r in self.runs if r.measured is not None]
        peaks += [s.peak for r in self.runs for s in r.steps if s.peak is not None]
        return max(peaks, default=None)

    @property
    def peak(self) -> tuple[int, str] | None:
        """Bytes and kind ("measured" or "predicted") of the peak to judge by."""
        if self.measured_peak is not None:
            return self.measured_peak, "measured"
        return (self.predicted.peak, "predicted") if self.predicted else None

    def fits(self, budget: int | None) -> bool | None:
        """Whether the peak is within ``budget`` bytes; None when no peak is known."""
        if self.state in (State.OVER_BUDGET, State.OUT_OF_MEMORY):
            return False
        if self.peak is None:
            return None
        return budget is None or self.peak[0] <= budget


def group(records: Sequence[RunRecord]) -> list[Group]:
    """Groups in order of first appearance; labels tell configurations of one method apart."""
    keyed: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        keyed.setdefault((record.method, _key(record)), []).append(record)
    labels = _labels([runs[0] for runs in keyed.values()])
    drawn = looks([runs[0].method for runs in keyed.values()])
    limited = any(r.budget is not None for r in records)
    return [
        Group(label, runs[0].method, runs[0].family, tuple(runs), *look, limited and not any(r.budget for r in runs))
        for label, runs, look in zip(labels, keyed.values(), drawn)
    ]


def combination(chosen: Mapping[str, str]) -> str:
    """A place on the axes of a grid, written as the label of a group is; ``chosen`` are printed values."""
    rest = ", ".join(f"{name} {value}" for name, value in chosen.items() if name != "method")
    method = chosen.get("method", "")
    return f"{method} ({rest})" if method and rest else method or rest


def _settings(record: RunRecord) -> dict[str, str]:
    settings = {k: v for k, v in record.config.items() if k not in ("seed", "method")}
    settings |= {"task": record.task, "model": record.model, "batch": record.batch, "length": record.length}
    settings["accumulate"] = record.accumulate
    return {k: _said(str(v)) for k, v in settings.items()}


def _said(value: str) -> str:
    """A long list is said by its length; what tells two such lists apart is the number behind the label."""
    count = value.count(",") + 1
    return f"{count} given" if count > 1 and len(value) > LONGEST else value


def _key(record: RunRecord) -> str:
    shape = (record.task, record.model, record.batch, record.length, record.accumulate)
    return repr((shape, sorted((k, str(v)) for k, v in record.config.items() if k not in ("seed", "method"))))


def _labels(firsts: Sequence[RunRecord]) -> list[str]:
    """The method's name, followed by the settings in which groups of that method differ; where that would be too long
    to stand beside a mark, by those that differ from the method's first group; else by a number."""
    labels = []
    for record in firsts:
        same = [_settings(r) for r in firsts if r.method == record.method]
        own = _settings(record)
        differing = [k for k in own if any(k in other and other[k] != own[k] for other in same)]
        if any(len(_listed(other, differing)) > LONGEST for other in same):
            differing = [k for k in differing if own[k] != same[0].get(k)]
        suffix = _listed(own, differing)
        labels.append(f"{record.method} ({suffix})" if suffix and len(suffix) <= LONGEST else record.method)
    counted = [labels[:i].count(name) + 1 for i, name in enumerate(labels)]
    return [f"{name} #{n}" if labels.count(name) > 1 else name for name, n in zip(labels, counted)]


def _listed(settings: dict[str, str], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {settings[name]}" for name in names if name in settings)


@dataclass(frozen=True)
class Metric:
    """What a score measures. A ``share`` of examples is printed per cent, anything else as the number it is."""

    name: str = "score"
    lower_is_better: bool = False
    share: bool = True

    def shown(self, value: float) -> str:
        """One value, without the name."""
        return percent(value) if self.share else f"{value:.4g}"

    def difference(self, value: float, *, signed: bool = False) -> str:
        """A difference of two values: points of per cent, or in the unit of the metric."""
        sign = "+" if signed else ""
        return f"{value * 100:{sign}.1f}" if self.share else f"{value:{sign}.3g}"

    @property
    def unit(self) -> str:
        """What a difference is counted in."""
        return "points" if self.share else self.name


def metric_of(records: Sequence[RunRecord]) -> Metric:
    """What the runs are scored by; the first run that has a score decides."""
    for record in records:
        if record.score:
            lower = bool(record.score.get("lower_is_better", False))
            # Records from before shares were told apart: every score to be lowered was a loss.
            return Metric(str(record.score.get("name", "score")), lower, bool(record.score.get("share", not lower)))
    return Metric()


def budget_of(records: Sequence[RunRecord], budget: int | None = None) -> int | None:
    """The budget in bytes to draw: the one given, else the only one that runs were made under.

    Runs without one, the references, have no say.
    """
    if budget is not None:
        return budget
    found = {r.budget for r in records if r.budget is not None}
    return found.pop() if len(found) == 1 else None
