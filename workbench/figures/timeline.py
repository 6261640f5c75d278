"""Live bytes through one training step, stacked by category, with the peak marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.names import plain
from workbench.core.profile import MemoryProfile, Moment
from workbench.core.units import format_size
from workbench.figures.groups import Group, budget_of, group
from workbench.figures.info import MAX_PANELS, FigureInfo, caption_of, shown_of
from workbench.figures.layers import block_of, by_block, in_order
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.records.schema import RunRecord

MAX_MOMENTS = 96
MAX_LAYERS = 18
OTHER = "(other layers)"


@dataclass(frozen=True)
class StepTimeline:
    """One method's step. ``live[category][i]`` is bytes at moment ``i``; ``where`` indexes ``places``.

    ``changes[i]`` are the layers that hold other bytes than at the moment before it, as (place in ``layers``, place in
    the figure's categories, bytes now); see :meth:`held`. Without it, ``peak_layers`` tells of the peak alone.
    ``recorded`` moments were thinned to those that are here. ``unplaced`` bytes of the peak no event explains.
    """

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
    recorded: int = 0
    unplaced: int = 0
    layers: tuple[str, ...] = ()
    changes: tuple[tuple[tuple[int, int, int], ...], ...] = ()

    def held(self, moment: int) -> dict[tuple[str, str], int]:
        """Bytes by layer and category at one of the moments; they sum to ``live``."""
        now = {(at, c): size for found in self.changes[: moment + 1] for at, c, size in found}
        return {(self.layers[at], CATEGORIES[c]): size for (at, c), size in now.items() if size}


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
            f"Live bytes by category {_moments_of(steps)}; the peak is the highest moment of the stack. "
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
        caption=f"Live bytes by category {_moments_of([step])}; {profile.source}.",
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


def _moments_of(steps: Sequence[StepTimeline]) -> str:
    """Which moments are shown, as the end of a clause."""
    if all(s.recorded == len(s.events) for s in steps):
        return "at the recorded moments of one step"
    return f"at {MAX_MOMENTS} moments of one step, the highest of each stretch of events"


def _step(label: str, method: str, profile: MemoryProfile, budget: int | None) -> StepTimeline:
    chosen = thinned(profile.timeline)
    moments = [profile.timeline[i] for i in chosen]
    places: dict[str, int] = {}
    where = tuple(places.setdefault(_place(m), len(places)) for m in moments)
    peak_index = max(range(len(moments)), key=lambda i: moments[i].total)
    layers, changes = _layers(profile, chosen)
    at_peak = sorted(by_block(profile.by_module).items(), key=lambda item: -item[1])[:MAX_LAYERS]
    return StepTimeline(
        label=label,
        method=method,
        source=profile.source.value,
        peak=profile.peak,
        peak_index=peak_index,
        peak_sentence=profile.sentence(),
        over=budget is not None and profile.peak > budget,
        events=tuple(m.event for m in moments),
        phases=tuple(m.phase.value for m in moments),
        live={c: tuple(m.live.get(c, 0) for m in moments) for c in CATEGORIES},  # type: ignore[call-overload]
        places=tuple(places),
        where=where,
        peak_layers=() if layers else tuple(at_peak),
        recorded=len(profile.timeline),
        unplaced=max(0, profile.peak - moments[peak_index].total),
        layers=layers,
        changes=changes,
    )


def _layers(
    profile: MemoryProfile, chosen: Sequence[int]
) -> tuple[tuple[str, ...], tuple[tuple[tuple[int, int, int], ...], ...]]:
    """Names of the layers in the order of the network, and at each chosen moment what they hold that changed.

    A layer is a block of the model. Those that never hold much are taken together, so that nothing is left out.
    """
    wanted, found = set(chosen), []
    for i, held in enumerate(profile.held()):
        if i in wanted:
            blocks: Counter[tuple[str, str]] = Counter()
            for (module, category), size in held.items():
                blocks[block_of(plain(module)), category.value] += size
            found.append(blocks)
    most: Counter[str] = Counter()
    for blocks in found:
        totals: Counter[str] = Counter()
        for (name, _), size in blocks.items():
            totals[name] += size
        most |= totals  # the highest of each
    kept = {name for name, _ in most.most_common(MAX_LAYERS if len(most) <= MAX_LAYERS else MAX_LAYERS - 1)}
    layers = tuple(in_order(kept)) + ((OTHER,) if len(most) > len(kept) else ())
    place = {name: i for i, name in enumerate(layers)}
    changes, before = [], dict[tuple[int, int], int]()
    for blocks in found:
        now: Counter[tuple[int, int]] = Counter()
        for (name, kind), size in blocks.items():
            now[place.get(name, len(layers) - 1), CATEGORIES.index(kind)] += size
        differ = sorted(key for key in {*now, *before} if now[key] != before.get(key, 0))
        changes.append(tuple((*key, now[key]) for key in differ))
        before = dict(now)
    return layers, tuple(changes)


def _place(moment: Moment) -> str:
    return f"{moment.operator} in {moment.module}" if moment.module else moment.operator


def thinned(moments: Sequence[Moment], most: int = MAX_MOMENTS) -> list[int]:
    """Places of the highest moment of each block, so that no visible peak is lost; first and last are kept."""
    if len(moments) <= most:
        return list(range(len(moments)))
    inner, blocks = len(moments) - 2, most - 2
    kept = []
    for b in range(blocks):
        block = range(1 + b * inner // blocks, 1 + (b + 1) * inner // blocks)
        if block:
            kept.append(max(block, key=lambda i: moments[i].total))
    return [0, *kept, len(moments) - 1]


def peak_label(step: StepTimeline) -> str:
    """The short text beside the peak mark."""
    return f"peak {format_size(step.peak)}, {step.phases[step.peak_index]}"
