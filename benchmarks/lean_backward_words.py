"""Sentences of ``docs/lean-backward.md`` whose numbers come from the stored results: peaks, statistics, reasons."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lean_backward_pairs import apart, arm_label, gap, scored
from lean_backward_settings import SETTINGS

from workbench.core.units import format_size
from workbench.papers import paper

Row = Mapping[str, Any]
Groups = Mapping[str, Sequence[Row]]
TASKS = {
    "fashion-mnist": "pictures of clothing in ten classes (`fashion-mnist`)",
    "movie-sentiment": "whether a sentence about a film is positive (`movie-sentiment`)",
    "digits": "handwritten digits in ten classes (`digits`)",
}
LENGTHS = {"efficientnet-lite0": "{} pixels a side", "minilm": "{} tokens", "tiny-vit": "{} pixels a side"}
_LONG = 100  #: steps after which a rule had its time
_LOWER = 0.01  #: share of the worst step that counts as lower


def learned(model: str, steps: int) -> str:
    """What a model learns here, on how much of it."""
    one = SETTINGS[model]
    long = f", {LENGTHS[model].format(one.length)}" if one.length and model in LENGTHS else ""
    return (
        f"Learns {TASKS[one.task]}{long}, in batches of {one.batch}: {one.train} training examples, {steps} steps. "
        f"Accuracy is of {one.test} test examples, the same for every seed: one of them is {100 / one.test:.2g} points."
    )


def many_intervals(lines: Sequence[str]) -> str:
    """How many intervals a page prints, and what that means for one of them."""
    found = set(re.findall(r"([+-][\d.]+) (?:points )?\(([+-][\d.]+) to ([+-][\d.]+)", "\n".join(lines)))
    without = sum(float(low) > 0 or float(high) < 0 for _, low, high in found)
    return (
        f"\n**How to read the intervals.** This page prints {len(found)} different paired 95 % intervals, "
        f"{without} of them "
        "without zero, and corrects none for their number: where no arm differs from any other, one in twenty leaves "
        f"zero out all the same, about {len(found) / 20:.0f} of as many. Each is of three seeds over one fixed test "
        "set, so it says how far seeds differ and nothing of other examples. A single interval that just misses zero "
        "is weak evidence."
    )


def worst_steps(groups: Groups, peaks: Sequence[Row]) -> list[str]:
    """What each method saves of what is kept and of the worst step, and why the second may stay."""
    return [*_mobile(groups, peaks), *_slimfit(groups, peaks), *_green(groups, peaks)]


def _mobile(groups: Groups, peaks: Sequence[Row]) -> list[str]:
    blocks = {
        name: {r[0]["settings"]["blocks"]: r[0] for r in groups.values() if _plain(r[0], name)}
        for name in ("mobile-tl", "last-blocks")
    }
    said, lower = [], 0.0
    for count, lean in blocks["mobile-tl"].items():
        if (plain := blocks["last-blocks"].get(count)) is not None:
            kept, worst = (format_size(plain[k] - lean[k]) for k in ("kept", "measured"))
            lower = max(lower, 1 - lean["measured"] / plain["measured"])
            said.append(f"blocks={count} {kept} less kept, {worst} less at the worst step")
    if not said:
        return []
    words = f"\nMobileTL against as many of torch's own blocks, measured: {'; '.join(said)}."
    if lower >= _LOWER:
        return [words]
    where = _where(peaks, "mobile-tl")
    why = f" By the prediction, which is exact, that is reached {where}." if where else ""
    return [f"{words} **What it saves does not lower the worst step here.**{why}"]


def _slimfit(groups: Groups, peaks: Sequence[Row]) -> list[str]:
    frozen = {r[0]["settings"]["frozen"]: r[0] for r in groups.values() if _plain(r[0], "slimfit")}
    full, again = _one(groups, "full"), _one(groups, "checkpointing")
    if not frozen or full is None:
        return []
    most = frozen[max(frozen)]
    by_share = ", ".join(f"F={share:g} {format_size(row['measured'])}" for share, row in sorted(frozen.items()))
    times = full["measured"] / most["measured"]
    lowers = "lowers" if times >= 1 + _LOWER else "does not lower"
    said = paper(3)
    lines = [
        f"\n**SlimFit's worst step.** Full tuning {format_size(full['measured'])}; SlimFit {by_share}. At "
        f"F={max(frozen):g} what is kept for backward falls {full['kept'] / most['kept']:.1f}-fold "
        f"({format_size(full['kept'])} to {format_size(most['kept'])}) and the worst step {times:.2f}-fold. Its paper "
        f"({said.provenance}): {said.headline}."
        + ("" if times > 2 else f" **Its total is {'not reproduced' if times < 1.5 else 'not reached'} here.**")
    ]
    if (where := _where(peaks, "slimfit")) and times < 1.5:
        lines.append(
            f"By the prediction, which is exact, its worst step is reached {where}. Nothing that packing or freezing "
            "shortens is held then: the state is of every layer, since each trains at some time, and the update of a "
            "layer keeps its old values to tell how far it moved, which for the largest tensor is a copy of it. A "
            f"batch at which activations are most of the memory is what its paper has; that it {lowers} the total "
            "there was not tried."
        )
    if again is not None:
        lines.append(
            f"Recomputing (`checkpointing`) keeps {format_size(again['kept'])} and needs "
            f"{format_size(again['measured'])} "
            f"at its worst step, {_order(again, most)}, with full tuning's weights to the bit, at the cost of a second "
            "forward pass."
        )
    return lines


def _order(again: Row, slim: Row) -> str:
    below = [word for word, key in (("kept bytes", "kept"), ("worst step", "measured")) if again[key] < slim[key]]
    if len(below) == 2:
        return "**below SlimFit on both**"
    return f"below SlimFit in {below[0]} only" if below else "above SlimFit on both"


def _green(groups: Groups, peaks: Sequence[Row]) -> list[str]:
    green, full = _one(groups, "green-trainer"), _one(groups, "full")
    if green is None or full is None or green["measured"] <= full["measured"]:
        return []
    where = _where(peaks, "green-trainer")
    return [
        f"\nGreenTrainer's worst step is above full tuning's ({format_size(green['measured'])} against "
        f"{format_size(full['measured'])}): choosing tries one update of every tensor within reach and puts "
        "everything back, so a copy of the weights and, one tensor at a time, of its state lie beside them."
        + (f" By the prediction it is reached {where}." if where else "")
    ]


def _where(peaks: Sequence[Row], method: str) -> str:
    """Where the last arm of ``method`` has its worst step, with what is held there."""
    row = next((r for r in reversed(peaks) if r["way"].split()[0] == method and "select" not in r["way"]), None)
    if row is None:
        return ""
    held = {name: size for name, size in row["held"].items() if size >= 2**16}
    what = ", ".join(f"{name} {format_size(size)}" for name, size in sorted(held.items(), key=lambda one: -one[1]))
    module = f" of `{row['module']}`" if row["module"] else ""
    return f"in the {row['phase']} phase{module} (`{row['operator']}`), with {what}"


def _plain(row: Row, method: str) -> bool:
    settings = row["settings"]
    usual = settings.get("select") in (None, "dynamics", "importance") and "statistics" not in settings
    return row["method"] == method and row["state"] == "done" and usual


def _one(groups: Groups, method: str) -> Row | None:
    return next((rows[0] for rows in groups.values() if _plain(rows[0], method)), None)


def turns(groups: Groups, scores: Row) -> list[str]:
    """How many steps SlimFit's rule had to act, after every layer had its first turn."""
    said = []
    for share in sorted({r[0]["settings"]["frozen"] for r in groups.values() if _plain(r[0], "slimfit")})[-2:]:
        each = scores["layers"] - math.floor(share * scores["layers"] + 1e-9)
        first = min(math.ceil(scores["layers"] / each), scores["steps"])
        said.append(
            f"at F={share:g} {each} of {scores['layers']} layers train in a step, so {first} of {scores['steps']} "
            "steps "
            f"are every layer's first turn, in an order of chance, and {scores['steps'] - first} are left to the rule"
        )
    if scores["steps"] >= _LONG:
        return [f"\nHow long SlimFit's rule acts: {'; '.join(said)}."]
    what = "Our best guess at why SlimFit's rule is not told apart from chance, untested"
    return [f"\n{what}: {'; '.join(said)}. Longer trainings were not tried."]


def statistics(norms: Sequence[Row], groups: Groups, other: Groups) -> list[str]:
    """Whether moving statistics are why some arms lie low; ``other`` are the arms of another net."""
    by_arm = {label: scored(rows) for label, rows in groups.items()}
    head = next(scores for label, scores in by_arm.items() if label.startswith("head "))
    low = [label for label, s in by_arm.items() if s and sum(s.values()) / len(s) < sum(head.values()) / len(head)]
    sure = [label for label in low if apart(by_arm[label], head) < 0]
    means = (
        f"told apart from it: {', '.join(sure)}"
        if sure
        else "no interval is without zero, so none is told apart from it"
    )
    green = next(row["way"] for row in norms if row["way"].startswith("green-trainer") and "select" not in row["way"])
    own = float(next(word for word in green.split() if word.startswith("lr=")).removeprefix("lr="))

    def found(kind: str, rate: float | None) -> dict[int, float]:
        rows = (r for r in norms if (r["way"], r["statistics"]) == (green, kind) and r.get("rate") == rate)
        return {r["seed"]: r["score"] for r in rows}

    moving, lines = found("moving", None), []
    lines.append(
        f"Below the head alone lie, by their means, {', '.join(low)}; {means}. Moving statistics may be why: frozen "
        "weights meet statistics of batches of 16 that they were not made for, and GreenTrainer, which may train any "
        f"tensor at some time, moves all of them. What is told apart: {_blocks(groups)}."
    )
    held = found("held still", 0.001)
    slow = found("moving", 0.001)
    equal = (
        f"with statistics moving at 0.001 as well, held still is {gap(held, slow)}" if slow else
        "moving at 0.001 was not run, so which of the two it is stays open"
    )  # fmt: skip
    lines.append(
        f"\nGreenTrainer's choice held still at 0.001 against moving at its own {own:g}: {gap(held, moving)}, two "
        "changes "
        f"at once, and 0.001 was looked up in the table below by test score; {equal}. At the rate of {own:g} held "
        "still "
        f"is {gap(found('held still', own), moving)} against moving: nothing normalises then, and some runs fail. "
        f"Another net does not show it: on mcu-net {_blocks(other)}. {_verdict(held, slow)}"
    )
    return lines


def _verdict(held: Mapping[int, float], slow: Mapping[int, float]) -> str:
    if slow and apart(held, slow) > 0:
        return (
            "So on this net, at one rate with that one change, the statistics cost accuracy; that they are what puts "
            "GreenTrainer below the head is likely, and not shown, since it is not told apart from the head."
        )
    return "So this is a guess that part of the data supports."


def _blocks(groups: Groups) -> str:
    """The last blocks with norms kept against moving ones, at as many blocks."""
    pairs = {r[0]["settings"].get("statistics", "kept"): r for r in groups.values() if r[0]["method"] == "last-blocks"}
    moving = pairs["moving"]
    blocks = moving[0]["settings"]["blocks"]
    kept = next(r for r in groups.values() if _plain(r[0], "last-blocks") and r[0]["settings"]["blocks"] == blocks)
    one, other = scored(kept), scored(moving)
    means = [100 * sum(s.values()) / len(s) for s in (one, other)]
    return (
        f"the last {blocks} blocks reach {means[0]:.1f} % with kept and {means[1]:.1f} % with moving statistics "
        f"({gap(one, other)})"
    )


def reasons(model: str, groups: Groups) -> list[str]:
    """What did not come out as a paper says, with our best guess, which was not tested unless it says so."""
    by_arm = {label: scored(rows) for label, rows in groups.items() if scored(rows)}
    green = next((label for label, r in groups.items() if _plain(r[0], "green-trainer")), None)
    chance = next((n for n, r in groups.items() if n.startswith("green-trainer") and "random" in n), None)
    found = []
    if green and chance:
        how = {1: "above", 0: "not told apart from", -1: "below"}[apart(by_arm[green], by_arm[chance])]
        found.append(
            f"GreenTrainer's choice is {how} tensors by chance ({gap(by_arm[green], by_arm[chance])}): {_CHOICE}"
        )
    full = next((label for label in by_arm if label.startswith("full ")), None)
    if green and full and apart(by_arm[green], by_arm[full]) < 0:
        found.append(
            f"GreenTrainer's choice is below full tuning ({gap(by_arm[green], by_arm[full])}): {_RANDOM[model]}"
            if model in _RANDOM else
            f"GreenTrainer's choice is below full tuning ({gap(by_arm[green], by_arm[full])}): its paper tunes for "
            "whole epochs of larger data, here a choice has one epoch to pay off"
        )  # fmt: skip
    int8 = next((label for label in by_arm if label.startswith("int8-training")), None)
    head = next((label for label in by_arm if label.startswith("head ")), None)
    if int8 and head and apart(by_arm[int8], by_arm[head]) <= 0:
        found.append(
            f"`int8-training` is not above the head alone ({gap(by_arm[int8], by_arm[head])}): its default scheme "
            "trains "
            "8 biases and two slices, and a few dozen steps of stochastically rounded int8 updates move them little"
        )
    lines = [f"- {one}." for one in found]
    return ["\nWhat did not come out, and our best guess at why, untested:\n", *lines] if lines else []


_CHOICE = (
    "importance comes from one trial update on one batch of 16 at the start of an epoch, when norms and "
    "optimizer state "
    "are not settled, and the choice holds for the whole epoch; its paper chooses on larger models whose tensors "
    "differ "
    "more in worth"
)
_RANDOM = {
    "tiny-vit": (
        "from random weights what one trial update wins says little of what a tensor is worth later, and tensors that "
        "are left frozen are noise; its rate is also the lowest tried"
    ),
    "mcu-net": "a small net from its factory has no tensor to spare for another task, and what is frozen fits digits",
}


def groups_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Runs by arm."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(arm_label(row), []).append(row)
    return found
