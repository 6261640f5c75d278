"""How a predicted and a measured profile of one case are shown side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.cli.printing import note, say, show_table
from workbench.core.profile import Category, MemoryProfile, Tier


def difference(predicted: MemoryProfile, measured: MemoryProfile) -> str:
    """Predicted minus measured, with what keeps the two from being comparable to the byte or where they part."""
    why = _not_comparable(predicted, measured) or _mostly(by_category(predicted, measured))
    return f"Predicted minus measured: {predicted.peak - measured.peak:+,d} bytes{why}."


def _not_comparable(predicted: MemoryProfile, measured: MemoryProfile) -> str:
    short = {Tier.FAKE: "the fake tier leaves workspace out", Tier.FORMULA: "the formula tier estimates workspace"}
    why = [short[predicted.source]] if predicted.source in short else []
    if measured.source is Tier.TRACKED:
        why.append("workspace was not measured")
    return f" ({'; '.join(why)}, so they need not agree to the byte)" if why else ""


def _mostly(off: Mapping[str, int]) -> str:
    category = max(off, key=lambda name: abs(off[name]))
    if not off[category]:
        return ""
    past = " (where memory counts that a step takes past torch's operators)" if category is Category.WORKSPACE else ""
    return f", mostly {category}{past}"


def by_category(predicted: MemoryProfile, measured: MemoryProfile) -> dict[str, int]:
    """Predicted minus measured bytes of each category at the two peaks."""
    return {c: predicted.by_category.get(c, 0) - size for c, size in measured.by_category.items()}


def side_by_side(predicted: MemoryProfile | None, measured: MemoryProfile) -> dict[str, Any]:
    if predicted is None:
        remarks = [*measured.remarks]
        return {"predicted": None, "measured": profile_data(measured), "difference": None, "remarks": remarks}
    return {
        "predicted": profile_data(predicted),
        "measured": profile_data(measured),
        "difference": predicted.peak - measured.peak,
        "comparable": (predicted.source, measured.source) == (Tier.PROBE, Tier.MEASURED),
        "remarks": [*measured.remarks],
        "difference_by_category": by_category(predicted, measured),
    }


def profile_data(profile: MemoryProfile) -> dict[str, Any]:
    """The profile without its timeline, which is long; `runs show` prints all of a run."""
    data = profile.to_dict()
    for name in ("timeline", "modules"):  # the second are the names that the first refers to
        data.pop(name)
    return data


def _outside(profile: MemoryProfile, name: str) -> str:
    """What Python and numpy hold is measured only."""
    return f"{profile.outside[name]:,}" if name in profile.outside else "-"


def show_profiles(case: Any, profiles: dict[str, MemoryProfile]) -> None:
    last = list(profiles.values())[-1]
    micro = f", {case.accumulate} micro-batches a step" if case.accumulate > 1 else ""
    say(f"{case.method_name} on {case.model_name}, batch {case.batch}{micro}. {last.sentence()}")
    rows = [("peak", *(f"{p.peak:,}" for p in profiles.values()))]
    rows += [(c, *(f"{p.by_category.get(c, 0):,}" for p in profiles.values())) for c in last.by_category]
    rows += [(f"outside: {n}", *(_outside(p, n) for p in profiles.values())) for n in last.outside]
    show_table("", ("bytes", *profiles), rows, "")
    for name, profile in profiles.items():
        for remark in profile.remarks:
            note(f"{name}: {remark}")
        source = str(profile.source).removeprefix(f"{name}: ").removeprefix(name)
        said = [part for part in (source, *profile.assumptions) if part]
        note(f"{name}: {'; '.join(said) or 'no assumptions'}")
