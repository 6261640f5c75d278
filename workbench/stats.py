"""Intervals, paired differences and fronts over finished runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval. ``kind`` says where the interval comes from; bounds may be absent."""

    mean: float
    low: float | None
    high: float | None
    count: int
    kind: str  #: "seeds" (Student t over seeds) | "examples" (Wilson over test examples) | "none"

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a point; an absent bound counts as the mean itself."""
        low, high = _bounds(self)
        other_low, other_high = _bounds(other)
        return low <= other_high and other_low <= high


def _bounds(interval: Interval) -> tuple[float, float]:
    low = interval.mean if interval.low is None else interval.low
    high = interval.mean if interval.high is None else interval.high
    return low, high


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; NaN for no values."""
    return math.fsum(values) / len(values) if values else math.nan


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of independent seeds with Student's t interval; no bounds for a single value."""
    count = len(values)
    centre = mean(values)
    if count < 2:
        return Interval(centre, None, None, count, "none")
    from scipy.stats import t

    spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (count - 1))
    half = float(t.ppf(0.5 + level / 2, count - 1)) * spread / math.sqrt(count)
    return Interval(centre, centre - half, centre + half, count, "seeds")


def wilson(successes: float, count: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion over ``count`` test examples (Wilson 1927)."""
    if count <= 0:
        return Interval(math.nan, None, None, 0, "none")
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + level / 2))
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), count, "examples")


def score_interval(values: Sequence[float], count: int | None = None) -> Interval:
    """The interval that the data allow: over seeds, else over the test examples of one seed, else none.

    ``count`` is the number of test examples; Wilson's interval is used only for a proportion in [0, 1], and the
    interval over seeds of a proportion ends where proportions end.
    """
    proportions = bool(count) and all(0 <= v <= 1 for v in values)
    if len(values) == 1 and count and proportions:
        return wilson(values[0] * count, count)
    found = t_interval(values)
    if proportions and found.low is not None and found.high is not None:
        return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    return found


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Interval | None:
    """Mean of ``first - second`` over the seeds both have, with its t interval; None without a shared seed."""
    shared = sorted(set(first) & set(second))
    return t_interval([first[s] - second[s] for s in shared]) if shared else None


def pareto_front(
    peaks: Sequence[float | None], scores: Sequence[float | None], *, lower_is_better: bool = False
) -> tuple[int, ...]:
    """Indices of the points that no other one beats: lowest peak, best score, sorted by peak.

    A point without a peak or a score is never on the front. Of equal points all are.
    """
    sign = -1.0 if lower_is_better else 1.0
    known = [
        (i, p, sign * s)
        for i, (p, s) in enumerate(zip(peaks, scores))
        if p is not None and s is not None and math.isfinite(p) and math.isfinite(s)
    ]
    front = [(p, i) for i, p, s in known if not any((q <= p and r >= s) and (q < p or r > s) for _, q, r in known)]
    return tuple(i for _, i in sorted(front))
