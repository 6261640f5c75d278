"""Training loss by step: the mean over seeds and each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.groups import Group, group
from workbench.figures.info import MAX_PANELS, FigureInfo, caption_of
from workbench.records.schema import RunRecord

MAX_POINTS = 120


@dataclass(frozen=True)
class Line:
    """One line of (step, loss) pairs; a loss that is not finite ends the line before it."""

    seed: int
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """One method: its seeds and their mean over the steps that every seed reached."""

    label: str
    method: str
    colour: str
    state: str
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    seeds: tuple[Line, ...]


@dataclass(frozen=True)
class CurvesInfo(FigureInfo):
    """Loss curves of all methods that took at least one step."""

    kind: ClassVar[str] = "curves"

    curves: tuple[Curve, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"method": c.label, "seed": line.seed, "step": step, "loss": loss}
            for c in self.curves
            for line in c.seeds
            for step, loss in zip(line.steps, line.losses)
        ]


def curves(records: Sequence[RunRecord]) -> CurvesInfo:
    """Loss by step and method, each line thinned to at most ``MAX_POINTS`` block means."""
    found = tuple(c for c in (_curve(g) for g in group(records)) if c.seeds)
    runs = tuple(r.id for r in records if r.steps)
    last = "; ".join(f"{c.label} from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for c in found if c.mean)
    return CurvesInfo(
        title="Training loss",
        caption=caption_of(_caption(len(found)), runs),
        alt=f"Training loss by step: {last}." if last else "No run took a step.",
        runs=runs,
        curves=found,
    )


def _caption(count: int) -> str:
    if count > MAX_PANELS:
        return "Lines are means over seeds; each point is the mean of a block of steps. The data hold every seed."
    return "Strong lines are means over seeds, light ones single seeds; each point is the mean of a block of steps."


def _curve(group: Group) -> Curve:
    lines = tuple(line for line in (_line(r) for r in group.runs) if line.steps)
    shared = min((len(line.steps) for line in lines), default=0)
    steps = lines[0].steps[:shared] if lines else ()
    average = tuple(math.fsum(line.losses[i] for line in lines) / len(lines) for i in range(shared))
    return Curve(group.label, group.method, group.colour, group.state.value, steps, average, lines)


def _line(record: RunRecord) -> Line:
    finite = []
    for s in record.steps:
        if not math.isfinite(s.loss):
            break
        finite.append(s)
    width = max(1, math.ceil(max(len(finite), record.planned_steps) / MAX_POINTS))
    blocks = [finite[i : i + width] for i in range(0, len(finite), width)]
    return Line(
        record.seed,
        tuple(b[len(b) // 2].step + 1 for b in blocks),
        tuple(math.fsum(s.loss for s in b) / len(b) for b in blocks),
    )
