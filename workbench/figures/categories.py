"""What the peak is made of, method by method, against the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import Group, budget_of, group
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.records.schema import RunRecord


@dataclass(frozen=True)
class CategoryBar:
    """One method's peak in bytes, split in the order of ``CategoriesInfo.categories``."""

    label: str
    method: str
    source: str
    state: str
    peak: int
    fits: bool | None
    binding: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class CategoriesInfo(FigureInfo):
    """Stacked peaks, lowest first."""

    kind: ClassVar[str] = "categories"

    budget: int | None
    categories: tuple[str, ...]
    colours: tuple[str, ...]
    bars: tuple[CategoryBar, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": b.label,
                "source": b.source,
                "state": b.state,
                "peak bytes": b.peak,
                "fits": b.fits,
                **{f"{c} bytes": size for c, size in zip(self.categories, b.sizes)},
            }
            for b in self.bars
        ]


def categories(records: Sequence[RunRecord], budget: int | None = None) -> CategoriesInfo:
    """The peak of each method by category: measured where measured, else predicted, and labelled so."""
    budget = budget_of(records, budget)
    groups = [g for g in group(records) if g.profile is not None]
    bars = sorted((_bar(g, budget) for g in groups), key=lambda b: b.peak)
    runs = tuple(run for g in groups for run in g.ids)
    said = "; ".join(f"{b.label} {format_size(b.peak)}, mostly {b.binding}" for b in bars)
    return CategoriesInfo(
        title="Peak memory by category",
        caption=caption_of(
            "Split of the one moment at which the step is highest; never a sum of separate peaks.", runs
        ),
        alt=f"Peak by category: {said}." if said else "No run recorded a memory profile.",
        runs=runs,
        budget=budget,
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        bars=tuple(bars),
    )


def _bar(group: Group, budget: int | None) -> CategoryBar:
    profile = group.profile
    assert profile is not None
    return CategoryBar(
        label=group.label,
        method=group.method,
        source=profile.source.value,
        state=group.state.value,
        peak=profile.peak,
        fits=group.fits(budget),
        binding=profile.binding_category.value,
        sizes=tuple(int(profile.by_category.get(c, 0)) for c in CATEGORIES),  # type: ignore[call-overload]
    )
