"""Predicted memory of models too large to run, by category and beside what others published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from workbench.core.profile import MemoryProfile
from workbench.core.units import format_size, format_time
from workbench.figures.categories import CategoriesInfo, CategoryBar
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.figures.table import Column, Table


class Forecast(Protocol):
    """What is drawn of one prediction; ``profile`` is None where none could be made."""

    @property
    def model(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def profile(self) -> MemoryProfile | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class Published(Protocol):
    """A figure of somebody else's."""

    @property
    def model(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def published(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def address(self) -> str: ...


def forecast(found: Sequence[Forecast], model: str) -> CategoriesInfo:
    """Predicted peak of each method on one model, split by category, lowest first."""
    bars = tuple(
        sorted(
            (_bar(f.method, f.profile) for f in found if f.model == model and f.profile is not None),
            key=lambda b: b.peak,
        )
    )
    said = "; ".join(f"{b.label} {format_size(b.peak)}, mostly {b.binding}" for b in bars)
    return CategoriesInfo(
        title=f"{model}: predicted memory of one training step",
        caption="Predicted; nothing was run. The split of the one moment at which the step is highest.",
        alt=f"Predicted peak on {model}: {said}." if said else f"No prediction was made for {model}.",
        runs=(),
        budget=None,
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        bars=bars,
    )


def _bar(label: str, profile: MemoryProfile) -> CategoryBar:
    sizes = tuple(int(profile.by_category.get(c, 0)) for c in CATEGORIES)  # type: ignore[call-overload]
    binding = profile.binding_category.value
    return CategoryBar(label, label, profile.source.value, "", profile.peak, None, binding, sizes)


def forecast_answer(found: Sequence[Forecast], batch: int, length: int) -> str:
    """The lowest and the highest predicted peak of each model in one sentence."""
    parts = []
    for model in dict.fromkeys(f.model for f in found):
        known = sorted((f for f in found if f.model == model and f.profile), key=_peak)
        if known:
            low, high = known[0], known[-1]
            least, most = format_size(_peak(low)), format_size(_peak(high))
            parts.append(f"{model} needs from {least} ({low.method}) to {most} ({high.method})")
    if not parts:
        return "No prediction could be made."
    return f"With batch {batch} and {length} tokens, one step of {' and of '.join(parts)}; all predicted, nothing run."


def _peak(one: Forecast) -> int:
    return one.profile.peak if one.profile else 0


def beside_published(found: Sequence[Forecast], published: Iterable[Published]) -> Table:
    """Every prediction, beside each published figure for the nearest setting; a dash where none was found."""
    by_case: dict[tuple[str, str], list[Published]] = {}
    for one in published:
        by_case.setdefault((one.model, one.method), []).append(one)
    rows = [row for f in found for row in _rows(f, by_case.get((f.model, f.method), []))]
    columns = (
        Column("name", "Model and method"),
        Column("peak", "Predicted here", "bytes"),
        Column("decimal", "in GB"),
        Column("published", "Published"),
        Column("setting", "What they ran"),
        Column("source", "Read in", "text", "address"),
    )
    text = (
        "Published figures are as printed by their source; none was found where a dash stands. GB is 10^9 bytes. "
        "Settings differ, so they are neighbours, not targets."
    )
    hidden = tuple(Column(k, k) for k in ("model", "method", "binding", "seconds", "tier", "assumptions", "address"))
    return Table(columns, tuple(rows), text, hidden)


def _rows(one: Forecast, theirs: Sequence[Published]) -> list[dict[str, Any]]:
    profile = one.profile
    row: dict[str, Any] = {
        "name": f"{one.model}, {one.method}",
        "model": one.model,
        "method": one.method,
        "peak": profile.peak if profile else None,
        "decimal": f"{profile.peak / 1e9:.4g} GB" if profile else one.reason,
        "binding": profile.binding_category.value if profile else None,
        "tier": profile.source.value if profile else None,
        "seconds": one.seconds,
        "assumptions": "; ".join(profile.assumptions) if profile else None,
    }
    return [
        {
            **row,
            "published": f"{p.published} ({p.kind})",
            "setting": p.setting,
            "source": p.source,
            "address": p.address,
        }
        for p in theirs
    ] or [row]


def forecast_costs(found: Sequence[Forecast]) -> Table:
    """What each prediction rests on and how long it took here."""
    columns = (
        Column("name", "Model and method"),
        Column("binding", "Binds"),
        Column("tier", "Tier"),
        Column("took", "Prediction took"),
        Column("assumptions", "Assumptions"),
    )
    rows = tuple({**_rows(f, [])[0], "took": format_time(f.seconds)} for f in found)
    return Table(columns, rows, "Times are measured on this machine; a prediction kept from before takes next to none.")
