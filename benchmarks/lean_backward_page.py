"""Writes docs/lean-backward.md from what ``lean_backward.py`` stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lean_backward_tables as tables
import lean_backward_words as words
import lean_budgets
import lean_charts as charts
import lean_claims
from lean_backward_pairs import Row, arm_label, differences, gap, scored, share_of, work
from lean_backward_tables import spread

from workbench.core.units import format_size
from workbench.figures.dynamics import DynamicsInfo

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lean-backward.md"
Parts = Mapping[str, Any]


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n")
    for name, info in drawings(stored).items():
        charts.draw(info, name)


def drawings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The chart of every model, what SlimFit keeps and how layers moved, by the name of its file."""
    found: dict[str, Any] = {}
    for model, parts in stored["models"].items():
        if "static" in parts:
            found[f"lean-static-{model}"] = charts.static_bars(model, parts["static"])
        if "trained" in parts:
            budgets = lean_budgets.budgets(parts["trained"])
            found[f"lean-chart-{model}"] = charts.chart(model, parts["trained"], arm_label, _share(parts), budgets)
        if "logarithms" in parts.get("scores", {}):
            found[f"lean-backward-{model}"] = _moved(parts["scores"])
    return found


def _moved(found: Mapping[str, Any]) -> DynamicsInfo:
    lines = tuple(tuple(line) for line in found["logarithms"])
    names, watched = tuple(found["names"]), tuple(found["watched"])
    title = "How far each layer moved when it last trained"
    return DynamicsInfo(title, "", found["alt"], (), found["arm"], names, watched, lines)


def _share(parts: Parts) -> Callable[[Row], float | None]:
    return share_of(work(parts["predicted"]), parts.get("operations", ()))


def page(stored: Mapping[str, Any]) -> list[str]:
    host, drawn = stored["host"], drawings(stored)
    head = [
        "# What the backward pass keeps: MobileTL and SlimFit\n",
        "Written by\n\n```\nOMP_NUM_THREADS=1 python benchmarks/lean_backward.py\n```\n",
        f"on {host['cores']} cores ({host['machine']}, {host['processor']}), torch {host['torch']}, each part at "
        "the date "
        "that stands at the end of its section; the machine was shared, so times compare badly. Bytes are measured "
        "unless they say predicted. The same as a page to play with: `pintpot report lean-backward`.",
        "\nMobileTL trains the last inverted residuals; the norms inside them train their shift only and their "
        "activations keep one bit an element. SlimFit freezes in each step the layers that moved least and packs what "
        "the backward pass reads whatever trains. Telling a tensor not to train (`requires_grad`) is the lazy variant "
        "of both: torch keeps the inputs of norms and activations all the same.",
    ]
    lines = []
    for model, parts in stored["models"].items():
        lines += _section(model, parts, stored, drawn)
    return [*head, words.many_intervals(lines), *lines]


def _section(model: str, parts: Parts, stored: Mapping[str, Any], drawn: Mapping[str, Any]) -> list[str]:
    lines = [f"\n## {model}\n"]
    if "trained" in parts:
        lines.append(words.learned(model, max(r["steps"] for r in parts["trained"])))
    lines += _FIRST_WORDS.get(model, ())
    for name in (f"lean-chart-{model}", f"lean-static-{model}"):
        if (info := drawn.get(name)) is not None:
            lines += [*charts.embedded(info, name), ""]
    for name, write_part in _PARTS.items():
        if parts.get(name):
            lines += write_part(parts) if name in _WHOLE else write_part(parts[name])
    if "norms" in parts and "mcu-net" in stored["models"]:
        other = words.groups_of(stored["models"]["mcu-net"]["trained"])
        lines += _norms(parts["norms"], words.groups_of(parts["trained"]), other)
    if "trained" in parts:
        lines += words.reasons(model, words.groups_of(parts["trained"]))
    lines += _LAST_WORDS.get(model, ())
    dates = stored.get("dates", {}).get(model, {})
    by_date: dict[str, list[str]] = {}
    for part, when in sorted(dates.items(), key=lambda one: one[1]):
        by_date.setdefault(when[:16].replace("T", " "), []).append(part)
    if by_date:
        said = "; ".join(f"{date} {', '.join(some)}" for date, some in by_date.items())
        lines.append(f"\nParts by date (UTC): {said}.")
    return lines


def _trained(parts: Parts) -> list[str]:
    rows = parts["trained"]
    groups = words.groups_of(rows)
    steps = max(r["steps"] for r in rows)
    lines = [
        f"\n### Trained for {steps} steps\n",
        "| arm | accuracy (95 %) | kept, worst step | worst step | predicted minus measured | "
        "highest step of the runs | median step |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(label, some) for label, some in groups.items()]
    said = (
        "\nA method whose trained set changes is predicted, and measured, on the worst set its rules allow, with "
        "optimizer state for everything that trains at some time; no step of a run may pass it. The median step is the "
        "middle seed's."
    )
    tail = [*words.worst_steps(groups, parts.get("peaks", ()))]
    tail += lean_budgets.table(rows, arm_label, lambda r: float(r["score"]), "accuracy")
    tail += lean_claims.table(groups, lambda r: float(r["score"]), _share(parts), _more(parts))
    tail += differences(groups, parts["predicted"], parts.get("operations", ()))
    if "scores" in parts:
        tail += words.turns(groups, parts["scores"])
    return [*lines, said, *tail]


def _row(label: str, some: Sequence[Row]) -> str:
    done = [r for r in some if r["state"] == "done"]
    if not done:
        return f"| {label} | {some[0]['state']}: {some[0]['reason']} | | | | | |"
    kept, worst, highest = (format_size(max(r[k] for r in done)) for k in ("kept", "measured", "highest"))
    off = max((r["predicted"] - r["measured"] for r in done), key=abs)
    seconds = sorted(r["seconds"] for r in done)[len(done) // 2]
    score = spread([r["score"] for r in done])
    return f"| {label} | {score} | {kept} | {worst} | {off:+} B | {highest} | {seconds:.2g} s |"


def _more(parts: Parts) -> dict[str, list[str]]:
    """What papers count and no arm shows: memory of MobileTL's blocks alone, LoRA at GreenTrainer's operations."""
    found = {}
    if longer := [r for r in parts.get("operations", ()) if r.get("par")]:
        green = [r for r in parts["operations"] if not r.get("par")]
        against = gap(scored(green), scored(longer))
        found["green-trainer"] = [f"against LoRA trained for as many operations: score {against}"]
    if "blocks" not in parts:
        return found
    stock, shared, lean = (sum(r[k] for r in parts["blocks"]) for k in ("stock", "shared", "lean"))
    said = f"memory of all blocks {1 - lean / stock:.0%} below torch's, {1 - lean / shared:.0%} below shared"
    return found | {"mobile-tl": [said]}


def _norms(rows: Sequence[Row], groups: words.Groups, other: words.Groups) -> list[str]:
    lines = [
        "\n### Is it the statistics that move?\n",
        *words.statistics(rows, groups, other),
        "\n| way | moving, at its own rate | moving, by rate | all held still, by rate |",
        "|---|---:|---|---|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        found: dict[tuple[str, float | None], list[float]] = {}
        for row in rows:
            if row["way"] == way:
                found.setdefault((row["statistics"], row.get("rate")), []).append(row["score"])
        own = spread(found["moving", None])
        by = {
            kind: "; ".join(
                f"{rate:g}: {spread(s)}" for (k, rate), s in found.items() if k == kind and rate is not None
            )
            for kind in ("moving", "held still")
        }
        lines.append(f"| {way} | {own} | {by['moving'] or 'not run'} | {by['held still']} |")
    return lines


def _rates(parts: Parts) -> list[str]:
    return tables.rates(parts["rates"], parts["predicted"])


_FACTORY = (
    "\nA net for a microcontroller that has learned digits in its factory and learns clothing here; all arms "
    "run on this host. What its int8 step needs on the device itself: "
    "[the microcontroller page](microcontroller.md)."
)
_FROM_RANDOM = (
    "\n**A limitation of this page.** From random weights SlimFit is not reproduced: accuracy falls as more layers are "
    "frozen, at the best rate of each share as well. Its paper tunes pretrained models; what is frozen here has never "
    "been trained, and this is the only vision transformer here that any score comes from. A pretrained one "
    "(`dinov2-small`) is served by SlimFit, exactly ([exactness](exactness.md)), but was not trained."
)
_FIRST_WORDS = {"mcu-net": (_FACTORY,)}
_LAST_WORDS = {"tiny-vit": (_FROM_RANDOM,)}
_PARTS: dict[str, Callable[..., list[str]]] = {
    "blocks": tables.blocks, "cosines": tables.cosines, "activations": tables.activations, "packing": tables.packing,
    "predicted": tables.predicted, "bytes": tables.lazy, "rates": _rates, "trained": _trained,
    "scores": tables.scores,
}  # fmt: skip
_WHOLE = ("rates", "trained")  #: parts that are written with others beside them
