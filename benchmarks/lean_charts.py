"""Draws accuracy against memory and time of every trained arm, one chart a model, from what the benchmarks stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import figures
from workbench.core.units import format_size
from workbench.figures.categories import CategoriesInfo, CategoryBar
from workbench.figures.groups import Metric
from workbench.figures.info import FigureInfo
from workbench.figures.mpl import to_svg
from workbench.figures.trade import StoredArm, TradeInfo

DOCS = Path(__file__).resolve().parents[1] / "docs"
Row = Mapping[str, Any]

KEPT, WORST, SECONDS = "kept for backward, measured", "worst step, measured", "median step, measured here"
SHARE = "operations and choosing, of full tuning's"
_SHARED = (
    "One colour and mark a method; beside a mark stands what tells it from other arms of its method: the number of "
    "blocks, the share of frozen layers, the way of choosing. Large marks are the seeds' mean score at their median "
    "cost, small marks seeds, bars 95 % t intervals over seeds, cut at the frame. Every arm makes as many steps. The "
    "budget of {budget} stops none of them; dotted lines are budgets that would. The worst step is one that the rules "
    "of the arm allow. Seconds are of a shared machine, good for an order of size alone; operations are exact{more}."
)
_SLIM = ", those of SlimFit its worst set's"


def chart(
    model: str,
    rows: Sequence[Row],
    label: Callable[[Row], str],
    share: Callable[[Row], float | None],
    budgets: Sequence[int],
) -> TradeInfo:
    """Of ``rows`` as ``lean_backward.py`` stores them. ``share``: operations of an arm, its choosing included, of full
    tuning's, or none where its products are not all counted. ``budgets`` are drawn on the axis of the worst step."""
    title, score = f"{model}: accuracy against memory, time and operations", Metric("accuracy", False, True)
    slim = _SLIM if any(r["method"] == "slimfit" for r in rows) else ""
    caption = _SHARED.format(budget="4 GiB", more=slim)
    return _drawn(title, caption, _arms(rows, label, lambda row: row["score"], share), score, budgets)


def chart_of_transformers(
    model: str, rows: Sequence[Row], label: Callable[[Row], str], budget: str, budgets: Sequence[int]
) -> TradeInfo:
    """Of ``rows`` as ``lean_transformers.py`` stores them."""
    name = rows[0]["score"]["name"]
    arms = _arms(rows, label, lambda row: row["score"]["value"], spent_share)
    title = f"{model}: {name} against memory, time and operations"
    return _drawn(title, _SHARED.format(budget=budget, more=""), arms, Metric(name, False, True), budgets)


def spent_share(row: Row) -> float:
    """Operations of a whole run and of its choosing, of as many steps of full tuning."""
    return float((row["training"] + row["choosing"]) / row["full"])


def _drawn(title: str, caption: str, arms: list[StoredArm], metric: Metric, budgets: Sequence[int]) -> TradeInfo:
    costs = {KEPT: "bytes", WORST: "bytes", SECONDS: "s", SHARE: "share"}
    rules = {WORST: [(float(budget), format_size(budget)) for budget in budgets]}
    return figures.stored_trade(title, caption, arms, costs, metric, rules)


def _arms(
    rows: Sequence[Row],
    label: Callable[[Row], str],
    score: Callable[[Row], float],
    share: Callable[[Row], float | None],
) -> list[StoredArm]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["state"] == "done":
            groups.setdefault(label(row), []).append(row)
    keys = {KEPT: "kept", WORST: "measured", SECONDS: "seconds"}

    def cost(row: Row) -> dict[str, float]:
        found = {axis: row[key] for axis, key in keys.items() if row.get(key) is not None}
        taken = share(row)
        return found | ({} if taken is None else {SHARE: taken})

    found = [
        StoredArm(name, some[0]["method"], tuple((r["seed"], score(r), cost(r)) for r in some), *_tag(some[0]))
        for name, some in groups.items()
    ]
    return sorted(found, key=lambda arm: _FIRST.index(arm.method) if arm.method in _FIRST else len(_FIRST))


#: What stands on several charts comes first, so that it looks the same on each.
_FIRST = ("full", "lora", "bias", "head", "last-blocks", "checkpointing", "green-trainer")


def _tag(row: Row) -> tuple[str, str, float]:
    """What is written beside an arm's mark, the series that joins it with others of its method, its place there."""
    settings = row["settings"]
    counted = next((f"{settings[k]:g}" for k in ("blocks", "frozen") if k in settings), "")
    words = {"random": "by chance", "last": "the last", "activation": "by activation"}
    chosen = "" if row["method"] == "s2ft" and settings["select"] == "random" else words.get(settings.get("select"), "")
    moving = "statistics moving" if settings.get("statistics") == "moving" else ""
    said = ", ".join(word for word in (counted, chosen, moving) if word)
    series = "counted" if counted and not chosen and not moving else ""
    return said, series, float(counted or 0)


def static_bars(model: str, rows: Sequence[Row]) -> CategoriesInfo:
    """What SlimFit keeps for backward: what is read whatever trains, and what trained layers add."""
    bars = tuple(
        CategoryBar(
            f"F={row['frozen']:g}{', packed' if row['packed'] else ''}", "slimfit", "predicted", "", row["kept"], None,
            "", (row["static"], row["kept"] - row["static"]),
        )
        for row in rows
    )  # fmt: skip
    said = "; ".join(f"{bar.label} {format_size(bar.sizes[0])} and {format_size(bar.sizes[1])}" for bar in bars)
    return CategoriesInfo(
        f"{model}: what SlimFit keeps at its worst step",
        "Predicted, exact. Static: what a step keeps in which of all layers the head alone trains (and the biases), so "
        "freezing cannot drop it; dynamic: what the worst set of trained layers adds. Packing shortens the first.",
        f"Static and dynamic bytes: {said}.",
        (),
        None,
        ("static: read whatever trains", "dynamic: of layers that train"),
        ("#D55E00", "#56B4E9"),
        bars,
    )


def draw(info: FigureInfo, name: str) -> None:
    """``docs/NAME.svg``, dark on white whatever the page's theme."""
    (DOCS / f"{name}.svg").write_text(drawn(info), encoding="utf-8")


def drawn(info: FigureInfo) -> str:
    found = to_svg(info).replace("currentColor", "#1F2328").replace('class="faint"', 'stroke="#D8DEE4"')
    end = found.index(">", found.index("<svg")) + 1
    return f'{found[:end]}<!-- {numbers(info)} --><rect width="100%" height="100%" fill="#ffffff"/>{found[end:]}'


def numbers(info: FigureInfo) -> str:
    """A fingerprint of what is drawn, whatever it is drawn like."""
    return hashlib.sha256(json.dumps(info.rows(), sort_keys=True, default=str).encode()).hexdigest()[:16]


def embedded(info: FigureInfo, name: str) -> list[str]:
    """The lines of a page that show it."""
    return [f"\n### {info.title}\n", f"![{info.alt}]({name}.svg)\n", info.caption]
