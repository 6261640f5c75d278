"""Paired differences of ``docs/lean-backward.md``: with easy baselines, with chance, and at operations on par."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.core.units import format_size
from workbench.stats import paired_difference

Row = Mapping[str, Any]
_LOWER = 0.01  #: share of the worst step that counts as lower
_ON_PAR = 0.05  #: shares of full tuning's operations within this of each other


def differences(groups: Mapping[str, Sequence[Row]], predicted: Sequence[Row]) -> list[str]:
    """Paired differences over the seeds that both have: with full tuning, with the head alone, with chance, of
    GreenTrainer with LoRA, and of MobileTL with torch's own blocks."""
    scores = {label: {r["seed"]: r["score"] for r in some if r["state"] == "done"} for label, some in groups.items()}
    said = []
    for what, begins in (("full tuning", "full "), ("the head alone", "head ")):
        reference = next((label for label in groups if label.startswith(begins)), None)
        others = [label for label in groups if label != reference]
        if reference is not None:
            said += told(what, [(label, scores[label], scores[reference]) for label in others])
    by_arm = {_arm(some[0]): label for label, some in groups.items()}
    chance = _counterparts(by_arm, "green-trainer", "slimfit")
    by_chance = [(label, scores[label], scores[other]) for label, other in chance]
    said += [*told("the same by chance", by_chance), *_chance(by_chance)]
    said += _green_and_lora(scores, work(predicted))
    plain = [
        (label, by_arm.get(("last-blocks", *rest))) for (name, *rest), label in by_arm.items() if name == "mobile-tl"
    ]
    blocks = [(label, scores[label], scores[other]) for label, other in plain if other is not None]
    said += told("as many of torch's own blocks, norms kept", blocks)
    return said


def _green_and_lora(scores: Mapping[str, Mapping[int, float]], gflop: Mapping[str, float]) -> list[str]:
    """GreenTrainer against LoRA with the operations of each: its paper compares them where these are on par."""
    shares = {}
    for name in ("green-trainer", "lora"):
        way = next(way for way in gflop if way.startswith(name) and "select" not in way)
        arm = next(arm for arm in scores if arm.startswith(name) and "select" not in arm)
        shares[arm] = gflop[way] / next(n for other, n in gflop.items() if other.startswith("full "))
    (green, one), (lora, other) = shares.items()
    par = "on par" if abs(one - other) <= _ON_PAR else "not on par"
    shared = f"LoRA at {other:.3f} of full tuning's operations a step where GreenTrainer takes {one:.3f}"
    what = f"{shared} and its choosing, {par}"
    return told(what, [(green, scores[green], scores[lora])])


def worst_steps(groups: Mapping[str, Sequence[Row]]) -> list[str]:
    """How far MobileTL lowers what is kept, and how far the worst step, below as many of torch's own blocks."""
    by_arm = {_arm(some[0]): some[0] for some in groups.values()}
    said, lower = [], 0.0
    for (name, *rest), lean in by_arm.items():
        if name == "mobile-tl" and (plain := by_arm.get(("last-blocks", *rest))) is not None:
            kept, worst = (format_size(plain[k] - lean[k]) for k in ("kept", "measured"))
            lower = max(lower, 1 - lean["measured"] / plain["measured"])
            said.append(f"{' '.join(rest)} {kept} less kept, {worst} less at the worst step")
    if not said:
        return []
    return [
        f"\nMobileTL against as many of torch's own blocks, measured: {'; '.join(said)}."
        + (" **What it saves does not lower the worst step here.**" if lower < _LOWER else "")
    ]


def _arm(row: Row) -> tuple[str, ...]:
    """What names an arm whatever its rate and the order of its settings."""
    kept = sorted((k, v) for k, v in row["settings"].items() if k != "lr" and (k, v) not in _USUAL)
    return (row["method"], *(f"{k}={v}" for k, v in kept))


def _counterparts(by_arm: Mapping[tuple[str, ...], str], *methods: str) -> list[tuple[str, str]]:
    """Each arm chosen by chance behind the same arm chosen by its paper's rule, as labels. Raises ``LookupError`` where
    one of ``methods`` is trained without its counterpart: a pair must not go missing unseen."""
    found, names = [], {name for name, *_ in by_arm}
    for arm, label in by_arm.items():
        if arm[0] in methods and "select=random" in arm:
            own = tuple(word for word in arm if word != "select=random")
            if own not in by_arm:
                raise LookupError(f"{label} has no counterpart that chooses by its paper's rule")
            found.append((by_arm[own], label))
    for name in names.intersection(methods):
        if not any(label.startswith(f"{name} ") for _, label in found):
            raise LookupError(f"{name} is trained, but nothing of it by chance")
    return found


def _chance(pairs: Sequence[tuple[str, Mapping[int, float], Mapping[int, float]]]) -> list[str]:
    """What the differences with chance say together."""
    if not pairs:
        return []
    gaps = [(label, paired_difference(one, other)) for label, one, other in pairs]
    apart = [label for label, gap in gaps if gap is not None and gap.low is not None and gap.low > 0]
    if apart:
        return [f"\nBetter than chance: {', '.join(apart)}; the others are not told apart from it or lie below."]
    rules = {"slimfit": "dynamics (SlimFit)", "green-trainer": "importance (GreenTrainer)"}
    said = " or by ".join(dict.fromkeys(rules[label.split()[0]] for label, _ in gaps))
    below = [label for label, gap in gaps if gap is not None and gap.high is not None and gap.high < 0]
    worse = f" Below chance lies {', '.join(below)}." if below else ""
    refuted = f"**that choosing by {said} is better than chance is not reproduced here.**"
    return [f"\nNo interval lies above zero: {refuted}{worse}"]


def work(rows: Sequence[Row]) -> dict[str, float]:
    """GFLOP of a step, forward and backward, of every way whose products are all counted."""
    sums = [(r["way"], [r["forward GFLOP"], r["backward GFLOP"]]) for r in rows]
    return {way: sum(map(float, both)) for way, both in sums if not any("not counted" in one for one in both)}


def told(what: str, pairs: Sequence[tuple[str, Mapping[int, float], Mapping[int, float]]]) -> list[str]:
    """One line a pair; a pair without three common seeds says so."""
    lines = []
    for label, found, other in pairs:
        gap = paired_difference(found, other) if len(found.keys() & other.keys()) >= 3 else None
        if gap is not None and gap.low is not None and gap.high is not None:
            lines.append(f"- {label}: {100 * gap.mean:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})")
        else:
            lines.append(f"- {label}: {len(found.keys() & other.keys())} seeds in common, three are needed")
    return [f"\nAgainst {what}, paired over seeds, 95 %:\n", *lines] if lines else []


_USUAL = (("select", "dynamics"), ("select", "importance"))


def arm_label(row: Row) -> str:
    kept = {k: v for k, v in row["settings"].items() if k != "lr" and (k, v) not in _USUAL}
    words = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in kept.items()]
    return " ".join([row["method"], f"lr={row['settings'].get('lr', 0):g}", *words])
