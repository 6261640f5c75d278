"""One value of each way of tuning against another, both with their seeds: the plainest picture of a trade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.groups import Group
from workbench.figures.info import FigureInfo
from workbench.records.schema import RunRecord
from workbench.stats import mean, t_interval

Value = Callable[[RunRecord], float | None]


@dataclass(frozen=True)
class Place:
    """One group: the mean of each value, the 95 % interval of ``y`` over seeds, and the seeds."""

    label: str
    method: str
    colour: str
    marker: str
    x: float
    y: float
    low: float | None
    high: float | None
    seeds: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class PointsInfo(FigureInfo):
    """Marks on two named axes; ``rule`` is a value of ``y`` to compare with, ``rule_label`` what it is."""

    kind: ClassVar[str] = "points"

    x_label: str
    y_label: str
    y_is_share: bool
    x_from_zero: bool
    rule: float | None
    rule_label: str
    places: tuple[Place, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"method": p.label, "seed": seed, self.x_label: x, self.y_label: y}
            for p in self.places
            for seed, x, y in p.seeds
        ]


def places(groups: Sequence[Group], x: Value, y: Value) -> tuple[Place, ...]:
    """A place for every group with at least one run that has both values."""
    found = (_place(g, x, y) for g in groups)
    return tuple(p for p in found if p is not None)


def _place(one: Group, x: Value, y: Value) -> Place | None:
    values = ((r.seed, x(r), y(r)) for r in one.runs)
    seeds = [(seed, a, b) for seed, a, b in values if a is not None and b is not None]
    return place_of(one.label, one.method, (one.colour, one.marker), seeds)


def place_of(label: str, method: str, look: tuple[str, str], seeds: Sequence[tuple[int, float, float]]) -> Place | None:
    """A place of (seed, x, y) with its colour and marker; ``None`` of no seed."""
    if not seeds:
        return None
    spread = t_interval([y for _, _, y in seeds]) if len(seeds) > 1 else None
    return Place(
        label, method, *look, mean([x for _, x, _ in seeds]), mean([y for _, _, y in seeds]),
        spread.low if spread else None, spread.high if spread else None, tuple(seeds),
    )  # fmt: skip
