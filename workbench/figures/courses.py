"""Accuracy at equal work, time, energy and memory: one line or mark for each way of tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.info import FigureInfo
from workbench.figures.style import looks
from workbench.figures.table import Column, Table
from workbench.stats import Interval, paired_difference, t_interval

if TYPE_CHECKING:
    from workbench.studies.courses import Course

LABELS = {"flops": "work, counted", "time": "time, measured", "energy": "energy, simulated"}


@dataclass(frozen=True)
class Track:
    """One way in one currency: at each share of the amount that is used up, the mean over seeds with its interval."""

    currency: str
    shares: tuple[float, ...]
    means: tuple[float, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]


@dataclass(frozen=True)
class Way:
    """One way of tuning. ``final`` is its score where the work is used up; ``peak`` is measured, in bytes."""

    label: str
    colour: str
    marker: str
    peak: int
    final: float | None
    tracks: tuple[Track, ...]


@dataclass(frozen=True)
class CoursesInfo(FigureInfo):
    """``metric`` names what is scored; without a metric it is the loss on held-out examples."""

    kind: ClassVar[str] = "courses"

    metric: str
    lower_is_better: bool
    ways: tuple[Way, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"way": w.label, "currency": t.currency, "share of the amount": x, self.metric: mean, "low": low,
             "high": high, "peak": w.peak}
            for w in self.ways for t in w.tracks for x, mean, low, high in zip(t.shares, t.means, t.lows, t.highs)
        ]  # fmt: skip


def courses(found: Sequence[Course], amounts: Mapping[str, float], title: str = "") -> CoursesInfo:
    """Lines of score against the share of each amount that is used up."""
    ways = list(dict.fromkeys(c.way for c in found))
    by_metric = all(m.metric is not None for c in found for m in c.marks)
    metric = found[0].metric if by_metric and found else "held-out loss"
    drawn = [
        _way(way, look, [c for c in found if c.way == way], amounts, by_metric)
        for way, look in zip(ways, looks([way.split()[0] for way in ways]))
    ]
    finals = "; ".join(f"{w.label} {w.final:.3g} at {format_size(w.peak)}" for w in drawn if w.final is not None)
    counts = sorted({sum(c.way == way for c in found) for way in ways})
    seeds = " to ".join(map(str, counts[:1] + counts[1:][-1:])) or "no"
    return CoursesInfo(
        title=title or "At equal work, time, energy and memory",
        caption=f"Means over {seeds} seed{'s'[: seeds != '1']} with 95 % intervals; the last panel has measured peaks, "
        "and scores where the amount of work is used up. Work is counted, time measured on one thread of this host, "
        "energy simulated from the device's roofline.",
        alt=f"{metric} where the work is used up: {finals}." if finals else "Nothing was trained.",
        runs=(),
        metric=metric,
        lower_is_better=not by_metric,
        ways=tuple(drawn),
    )


def _score(mark: Any, by_metric: bool) -> float:
    return float(mark.metric if by_metric else mark.loss)


def _way(way: str, look: tuple[str, str], runs: Sequence[Course], amounts: Mapping[str, float], by_metric: bool) -> Way:
    tracks = []
    steps = sorted(set.intersection(*({m.step for m in run.marks} for run in runs)))
    for currency, amount in amounts.items():
        price = runs[0].prices[currency].value
        if not price:
            continue
        reached = [s for s in steps if s * price <= amount * (1 + 1e-9)]
        spans: list[Interval] = []
        for step in reached:
            spans.append(t_interval([_score(m, by_metric) for r in runs for m in r.marks if m.step == step]))
        shares = tuple(round(s * price / amount, 4) for s in reached)
        lows, highs = tuple(s.low for s in spans), tuple(s.high for s in spans)
        tracks.append(Track(currency, shares, tuple(s.mean for s in spans), lows, highs))
    final = next((t.means[-1] for t in tracks if t.currency == "flops"), None)
    return Way(way, *look, max(r.peak for r in runs), final, tuple(tracks))


def courses_table(found: Sequence[Course], amounts: Mapping[str, float], reference: str = "") -> Table:
    """For each way its peak, and in each currency the steps it was paid and its score against the reference's."""
    ways = list(dict.fromkeys(c.way for c in found))
    reference = reference or (ways[0] if ways else "")
    by_metric = all(m.metric is not None for c in found for m in c.marks)
    columns = [Column("way", "Way"), Column("seeds", "Seeds", "count"), Column("peak", "Peak, measured", "bytes")]
    for currency in amounts:
        columns += [
            Column(f"{currency} steps", f"Steps ({LABELS[currency]})", "count"),
            Column(f"{currency} score", "Score"),
            Column(f"{currency} difference", f"Against {reference.split()[0]} (95 %)"),
        ]
    rows = []
    for way in ways:
        runs = [c for c in found if c.way == way]
        row: dict[str, Any] = {"way": way, "seeds": len(runs), "peak": max(r.peak for r in runs)}
        for currency, amount in amounts.items():
            own = _at(runs, currency, amount, by_metric)
            other = _at([c for c in found if c.way == reference], currency, amount, by_metric)
            marks = [m for r in runs if (m := r.at(currency, amount)) is not None]
            row[f"{currency} steps"] = min((m.step for m in marks), default=None)
            row[f"{currency} score"] = f"{sum(own.values()) / len(own):.3f}" if own else None
            row[f"{currency} difference"] = None if way == reference else _told(paired_difference(own, other))
        rows.append(row)
    kind = "the task's metric" if by_metric else "loss on held-out examples, lower is better"
    text = (
        f"Score is {kind}, at the last mark that the amount pays for; differences are paired by seed with a 95 % "
        "interval; those that are not told apart hold zero."
    )
    return Table(tuple(columns), tuple(rows), text)


def _at(runs: Sequence[Course], currency: str, amount: float, by_metric: bool) -> dict[int, float]:
    marks = {r.seed: r.at(currency, amount) for r in runs}
    return {seed: _score(mark, by_metric) for seed, mark in marks.items() if mark is not None}


def _told(found: Interval | None) -> str | None:
    if found is None:
        return None
    if found.low is None or found.high is None:
        return f"{found.mean:+.3f} (one seed)"
    apart = ", not told apart" if found.low <= 0 <= found.high else ""
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}{apart})"


def courses_answer(found: Sequence[Course], amounts: Mapping[str, float]) -> str:
    """What the amounts buy: the best way in each currency, and the best among those within the least peak's double."""
    info = courses(found, amounts)
    if not info.ways:
        return "Nothing was trained."
    sign = -1 if info.lower_is_better else 1
    best = {}
    for currency in amounts:
        ends = [(sign * t.means[-1], w.label) for w in info.ways for t in w.tracks if t.currency == currency]
        best[currency] = max(ends)
    heads = "; ".join(f"at equal {c} {way} ({sign * v:.3f})" for c, (v, way) in best.items())
    least = min(info.ways, key=lambda w: w.peak)
    within = [w for w in info.ways if w.peak <= 1.05 * least.peak and w.final is not None]
    ahead = max(within, key=lambda w: sign * (w.final or 0.0))
    return (
        f"Best mean {info.metric}: {heads}.\nWithin 5 % of the least peak, {format_size(least.peak)}, "
        f"the best is {ahead.label} ({ahead.final:.3f}) of {len(within)} ways: {', '.join(w.label for w in within)}."
    )
