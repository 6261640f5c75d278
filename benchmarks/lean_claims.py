"""What the papers of lean backward passes say, with where it was read, beside what stands here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lean_backward_pairs import gap

from workbench.core.units import format_size
from workbench.papers import paper

Row = Mapping[str, Any]
Groups = Mapping[str, Sequence[Row]]
Score = Callable[[Row], float]
Share = Callable[[Row], float | None]
NUMBERS = {"mobile-tl": 8, "slimfit": 3, "s2ft": 38, "green-trainer": 43}
NAMES = {"mobile-tl": "MobileTL", "slimfit": "SlimFit", "s2ft": "S2FT", "green-trainer": "GreenTrainer"}


def table(groups: Groups, score: Score, share: Share, more: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Lines of a page: each paper's headline and its provenance beside the arms of this model. ``groups`` are runs by
    arm; ``more`` are things to say by method before the rest."""
    arms = {name: _arm(groups, name) for name in NUMBERS}
    full, lora = _arm(groups, "full"), _arm(groups, "lora")
    lines = [
        "\n### The papers' numbers, beside ours\n",
        "The papers tune other models on other data, for longer; direction and ratio compare, scores do not.\n",
        "| paper | says | read in | here |",
        "|---|---|---|---|",
    ]
    for name, rows in arms.items():
        if not rows or not full:
            continue
        said, found = paper(NUMBERS[name]), list((more or {}).get(name, ()))
        found += _against("full tuning", rows, full, score, share)
        if name in ("s2ft", "green-trainer") and lora:
            found += _against("LoRA", rows, lora, score, share)
        lines.append(f"| {NAMES[name]} | {said.headline} | {said.provenance} | {'. '.join(found)}. |")
    return lines


def _arm(groups: Groups, method: str) -> Sequence[Row]:
    """The arm that stands for a method: the one of its paper's rule, with most frozen or most blocks."""
    own = [
        rows for rows in groups.values()
        if rows[0]["method"] == method and rows[0]["state"] == "done" and _papers_rule(rows[0])
    ]  # fmt: skip
    return max(
        own, key=lambda rows: rows[0]["settings"].get("frozen", rows[0]["settings"].get("blocks", 0)), default=()
    )


def _papers_rule(row: Row) -> bool:
    select = row["settings"].get("select")
    if row["method"] == "s2ft":
        return select == "random"
    return select not in ("random", "last")


def _against(what: str, rows: Sequence[Row], other: Sequence[Row], score: Score, share: Share) -> list[str]:
    """Bytes, seconds, operations and score of an arm against another one."""
    words = [
        f"worst step {ratio(other, rows, 'measured')} ({_size(other, 'measured')} to {_size(rows, 'measured')})",
        f"kept {ratio(other, rows, 'kept')}",
        f"seconds {_median(other) / _median(rows):.1f}x less" if _median(other) > _median(rows) else
        f"seconds {_median(rows) / _median(other):.1f}x more",
    ]  # fmt: skip
    mine, theirs = _mean_share(rows, share), _mean_share(other, share)
    if mine is not None and theirs is not None:
        words.append(f"operations {mine / theirs - 1:+.0%}")
    one, two = ({r["seed"]: score(r) for r in some} for some in (rows, other))
    arm = " ".join(f"{k}={v:g}" for k, v in rows[0]["settings"].items() if k in ("frozen", "blocks"))
    return [f"{arm} against {what}: {', '.join(words)}, score {gap(one, two)}".strip()]


def ratio(more: Sequence[Row], less: Sequence[Row], key: str) -> str:
    """How many times lower ``key`` is in ``less``, or how many times higher."""
    one, other = (max(r[key] for r in some) for some in (more, less))
    return f"{one / other:.2f}x lower" if one >= other else f"{other / one:.2f}x higher"


def _size(rows: Sequence[Row], key: str) -> str:
    return format_size(max(r[key] for r in rows))


def _median(rows: Sequence[Row]) -> float:
    return float(sorted(r["seconds"] for r in rows)[len(rows) // 2])


def _mean_share(rows: Sequence[Row], share: Share) -> float | None:
    found = [share(r) for r in rows]
    return None if any(one is None for one in found) else sum(one for one in found if one is not None) / len(found)
