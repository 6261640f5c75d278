"""Sentences of ``docs/slices-and-tensors.md`` whose numbers come from the stored results: rounding, reasons, terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lean_backward_pairs import apart, gap, par
from lean_charts import spent_share
from lean_transformers_settings import SETTINGS

from workbench.stats import mean

Row = Mapping[str, Any]
Groups = Mapping[str, Sequence[Row]]
NO_HEADS = (
    "**A limitation.** Every scored arm of S2FT trains feed-forward channels alone (`heads=0`); heads are permuted and "
    "trained in the exactness tables only, so a head of grouped queries never meets a score."
)
FLOAT32 = 1e-6  #: of the largest logit, what a permutation may move in float32


def learned(model: str, rows: Sequence[Row]) -> str:
    """What a model learns here, on how much of it, and on what it is asked afterwards."""
    one, first = SETTINGS[model], next(r for r in rows if r["state"] == "done")
    long = f"up to {one.length} tokens" if one.length else "texts of the task's own length"
    return (
        f"Learns `{one.task}`, {long}, in batches of {one.batch}: {one.train} training examples, {one.epochs:g} pass"
        f"{'es' if one.epochs > 1 else ''}. {first['score']['name'].capitalize()} is of {first['score']['count']} test "
        f"examples; what is forgotten is asked on `{one.held_out}`."
        + ("" if one.length else " The lean page cuts texts at 32 tokens, hence its smaller steps of the same model.")
    )


def is_share(metric: Row) -> bool:
    """Whether a stored metric is a share of examples."""
    return bool(metric.get("share")) or "accuracy" in metric["name"]


def shown(metric: Row, value: float) -> str:
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.4g}"


def rounding(rows: Sequence[Row]) -> list[str]:
    """What a permutation moves, where that is more than float32's usual last digits or exactly nothing in float64."""
    moved = max(r["logits moved by the permutation"] for r in rows)
    lines = []
    if moved > FLOAT32:
        lines.append(
            f"\nIn float32 the permutation moves logits by up to {moved:.1e} of the largest, above the "
            f"{FLOAT32:g} that was "
            "aimed at: sums are of the same numbers in another order. "
            "Why by more than on MiniLM was not looked into."
        )
    if any(r.get("the same in float64") == 0 for r in rows):
        lines.append(
            "\nThe 0.0 of float64 is weaker than it looks. This model's norms compute in float32 whatever its weights "
            "are; that rounds away the last digits in which a permuted sum would differ."
        )
    return lines


def at_operations(one: str, other: str, first: Sequence[Row], second: Sequence[Row]) -> str:
    """The operations of both, choosing included, where GreenTrainer stands against LoRA: its paper's claim is of
    operations on par."""
    if not one.startswith("green-trainer") or other != "lora":
        return ""
    mine, theirs = (mean([spent_share(r) for r in some]) for some in (first, second))
    return (
        f", at {mine:.1%} of full tuning's operations, choosing included, against {theirs:.1%}, "
        f"{par(mine, theirs)} (at as "
        "many operations both stand on [the lean page](lean-backward.md#minilm))"
    )


def _shared(row: Mapping[str, Any]) -> str:
    """What trains in both arms; a language model has no head of its own for the task."""
    probed = "probe" in row["held_out"]["name"]
    return "a head that trains with both does much of what so short a training can, and " if probed else ""


def reasons(groups: Groups) -> list[str]:
    """Why a paper's claim did not come out here: our best guess, untested."""
    green, full = find(groups, "green-trainer importance"), find(groups, "full")
    lora, slices = find(groups, "lora"), find(groups, "s2ft")
    said = []
    few = next(iter(groups.values()))[0]["score"]["count"] < 64
    if slices and lora and apart(_scores(slices), _scores(lora)) <= 0:
        said.append(
            f"S2FT is not better than LoRA ({gap(_scores(slices), _scores(lora))}): {_shared(slices[0])}a rate chosen "
            "among so few is coarser than the gap that its paper reports"
        )
    if slices and lora and not few:
        said.append(
            "what is forgotten is not told apart: a linear probe on another task moves by more from seed to seed than "
            "between methods"
            if "probe" in slices[0]["held_out"]["name"] else
            "what is forgotten is measured in bits per byte of one kind of text, over few steps"
        )  # fmt: skip
    if green and full and not few and apart(_scores(green), _scores(full)) < 0:
        said.append(
            f"GreenTrainer loses against full tuning ({gap(_scores(green), _scores(full))}): half of the "
            "operations of so "
            "short a training leave most tensors where they were, and a choice from one batch holds for an epoch"
        )
    if few:
        said.append("scores of so few examples tell nothing apart, whatever the method")
    return (
        ["\nWhat did not come out, and our best guess at why, untested:\n", *(f"- {one}." for one in said)]
        if said
        else []
    )


def _scores(rows: Sequence[Row]) -> dict[int, float]:
    return {r["seed"]: r["score"]["value"] for r in rows}


def find(groups: Groups, words: str) -> Sequence[Row]:
    """The first arm of a method whose label holds all words."""
    method, *rest = words.split()
    matching = [some for label, some in groups.items() if label.split()[0] == method and all(w in label for w in rest)]
    return matching[0] if matching else []
