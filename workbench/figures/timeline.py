"""Live bytes through one training step, stacked by category, with the peak marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.profile import MemoryProfile, Moment
from workbench.core.units import format_size
from workbench.figures.groups import Group, budget_of, group
from workbench.figures.info import MAX_PANELS, FigureInfo, caption_of, shown_of
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.records.schema import RunRecord

MAX_MOMENTS = 96
MAX_LAYERS = 12


@dataclass(frozen=True)
class StepTimeline:
    """One method's step. ``live[category][i]`` is bytes at moment ``i``; ``where`` indexes ``places``."""

    label: str
    method: str
    source: str
    peak: int
    peak_index: int
    peak_sentence: str
    over: bool
    events: tuple[int, ...]
    phases: tuple[str, ...]
    live: dict[str, tuple[int, ...]]
    places: tuple[str, ...]
    where: tuple[int, ...]
    peak_layers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class TimelineInfo(FigureInfo):
    """Small multiples of one step's memory, one for each method with a recorded timeline."""

    kind: ClassVar[str] = "timeline"
    module: ClassVar[str] = "timeline"

    budget: int | None
    categories: tuple[str, ...]
    colours: tuple[str, ...]
    steps: tuple[StepTimeline, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": s.label,
                "source": s.source,
                "event": s.events[i],
                "phase": s.phases[i],
                "where": s.places[s.where[i]],
                **{f"{c} bytes": s.live[c][i] for c in self.categories},
                "total bytes": sum(s.live[c][i] for c in self.categories),
            }
            for s in self.steps
            for i in range(len(s.events))
        ]


def timeline(records: Sequence[RunRecord], budget: int | None = None) -> TimelineInfo:
    """The timeline of each method's highest step, thinned to ``MAX_MOMENTS`` without losing the peak."""
    budget = budget_of(records, budget)
    groups = [(g, _profile(g)) for g in group(records)]
    steps = tuple(_step(g.label, g.method, p, budget) for g, p in groups if p is not None)
    runs = tuple(run for g, p in groups if p is not None for run in g.ids)
    return TimelineInfo(
        title="Memory through one training step",
        caption=caption_of(
            "Live bytes by category after each event of one step; the peak is the highest moment of the stack. "
            "Each panel says whether it is measured or predicted." + shown_of(len(steps), MAX_PANELS, "highest"),
            runs,
        ),
        alt=" ".join(f"{s.label} ({s.source}): {s.peak_sentence}" for s in steps) or "No run recorded a timeline.",
        runs=runs,
        budget=budget,
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        steps=steps,
    )


def one_step(profile: MemoryProfile, label: str = "one step", budget: int | None = None) -> TimelineInfo:
    """The timeline of a single profile, predicted or measured."""
    step = _step(label, label, profile, budget)
    return TimelineInfo(
        title="Memory through one training step",
        caption=f"Live bytes by category after each event of one step; {profile.source}.",
        alt=step.peak_sentence,
        runs=(),
        budget=budget,
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        steps=(step,),
    )


def _profile(group: Group) -> MemoryProfile | None:
    for profile in (group.measured, group.predicted):
        if profile is not None and profile.timeline:
            return profile
    return None


def _step(label: str, method: str, profile: MemoryProfile, budget: int | None) -> StepTimeline:
    moments = _thin(profile.timeline)
    places: dict[str, int] = {}
    where = tuple(places.setdefault(_place(m), len(places)) for m in moments)
    layers = sorted(profile.by_module.items(), key=lambda item: -item[1])[:MAX_LAYERS]
    return StepTimeline(
        label=label,
        method=method,
        source=profile.source.value,
        peak=profile.peak,
        peak_index=max(range(len(moments)), key=lambda i: moments[i].total),
        peak_sentence=profile.sentence(),
        over=budget is not None and profile.peak > budget,
        events=tuple(m.event for m in moments),
        phases=tuple(m.phase.value for m in moments),
        live={c: tuple(m.live.get(c, 0) for m in moments) for c in CATEGORIES},  # type: ignore[call-overload]
        places=tuple(places),
        where=where,
        peak_layers=tuple((name or "(outside any module)", size) for name, size in layers),
    )


def _place(moment: Moment) -> str:
    return f"{moment.operator} in {moment.module}" if moment.module else moment.operator


def _thin(moments: Sequence[Moment]) -> list[Moment]:
    """The highest moment of each block, so that no visible peak is lost; first and last are kept."""
    if len(moments) <= MAX_MOMENTS:
        return list(moments)
    inner = moments[1:-1]
    blocks = MAX_MOMENTS - 2
    kept = []
    for b in range(blocks):
        block = inner[b * len(inner) // blocks : (b + 1) * len(inner) // blocks]
        if block:
            kept.append(max(block, key=lambda m: m.total))
    return [moments[0], *kept, moments[-1]]


def peak_label(step: StepTimeline) -> str:
    """The short text beside the peak mark."""
    return f"peak {format_size(step.peak)}, {step.phases[step.peak_index]}"
