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
GFLOP, SHARE = "operations of a step, counted", "operations and choosing, of full tuning's"
_SHARED = (
    "Large marks are means of the seeds (small marks), bars 95 % t intervals over seeds, cut at the frame. Every arm "
    "makes as many steps and has the same budget of {budget}. The worst step is one that the rules of the arm allow. "
    "Seconds are of a shared machine, good for an order of size alone; operations are exact."
)


def chart(
    model: str, rows: Sequence[Row], label: Callable[[Row], str], gflop: Mapping[str, float], budget: str
) -> TradeInfo:
    """Of ``rows`` as ``lean_backward.py`` stores them. ``gflop`` are operations of a step by way; an arm whose
    products are not all counted has none and is missing on that axis."""
    costs = {KEPT: "bytes", WORST: "bytes", SECONDS: "s", GFLOP: "GFLOP"}
    keys = {KEPT: "kept", WORST: "measured", SECONDS: "seconds"}

    def cost(row: Row, name: str) -> dict[str, float]:
        found = {axis: row[key] for axis, key in keys.items() if row.get(key) is not None}
        said = set(name.split())
        ways = [way for way in gflop if said.issuperset(way.split())]  # an arm may say more than its way does
        return found | ({GFLOP: gflop[max(ways, key=len)]} if ways else {})

    arms = _arms(rows, label, lambda row: row["score"], cost)
    title = f"{model}: accuracy against memory and time"
    return figures.stored_trade(title, _SHARED.format(budget=budget), arms, costs, Metric("accuracy", False, True))


def chart_of_transformers(model: str, rows: Sequence[Row], label: Callable[[Row], str], budget: str) -> TradeInfo:
    """Of ``rows`` as ``lean_transformers.py`` stores them."""
    costs = {KEPT: "bytes", WORST: "bytes", SECONDS: "s", SHARE: "share"}
    keys = {KEPT: "kept", WORST: "measured", SECONDS: "seconds"}

    def cost(row: Row, _: str) -> dict[str, float]:
        found = {axis: row[key] for axis, key in keys.items() if row.get(key) is not None}
        return found | {SHARE: (row["training"] + row["choosing"]) / row["full"]}

    arms = _arms(rows, label, lambda row: row["score"]["value"], cost)
    title, name = f"{model}: {rows[0]['score']['name']} against memory and operations", rows[0]["score"]["name"]
    return figures.stored_trade(title, _SHARED.format(budget=budget), arms, costs, Metric(name, False, True))


def _arms(
    rows: Sequence[Row],
    label: Callable[[Row], str],
    score: Callable[[Row], float],
    cost: Callable[[Row, str], Mapping[str, float]],
) -> list[StoredArm]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["state"] == "done":
            groups.setdefault(label(row), []).append(row)
    return [
        StoredArm(name, some[0]["method"], tuple((r["seed"], score(r), cost(r, name)) for r in some))
        for name, some in groups.items()
    ]


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
