"""Paired differences of ``docs/lean-backward.md``: with easy baselines, with chance, and at operations on par."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.stats import mean, paired_difference

Row = Mapping[str, Any]
_ON_PAR = 0.05  #: shares of full tuning's operations within this of each other


def differences(
    groups: Mapping[str, Sequence[Row]], predicted: Sequence[Row], operations: Sequence[Row] = ()
) -> list[str]:
    """Paired differences over the seeds that both have: with full tuning, with the head alone, with chance, of
    GreenTrainer with LoRA, and of MobileTL with torch's own blocks."""
    scores = {label: scored(some) for label, some in groups.items()}
    said = []
    for what, begins in (("full tuning", "full "), ("the head alone", "head ")):
        reference = next((label for label in groups if label.startswith(begins)), None)
        others = [label for label in groups if label != reference and scores[label]]
        if reference is not None:
            said += told(what, [(label, scores[label], scores[reference]) for label in others])
    by_arm = {_arm(some[0]): label for label, some in groups.items()}
    chance = _counterparts(by_arm, "green-trainer", "slimfit")
    by_chance = [(label, scores[label], scores[other]) for label, other in chance]
    said += [*told("the same by chance", by_chance), *_chance(by_chance)]
    said += _green_and_lora(scores, work(predicted), operations)
    plain = [
        (label, by_arm.get(("last-blocks", *rest))) for (name, *rest), label in by_arm.items() if name == "mobile-tl"
    ]
    blocks = [(label, scores[label], scores[other]) for label, other in plain if other is not None]
    said += told("as many of torch's own blocks, norms kept", blocks)
    return said


def scored(rows: Sequence[Row]) -> dict[int, float]:
    """Scores of finished runs by seed."""
    return {r["seed"]: r["score"] for r in rows if r["state"] == "done"}


def share_of(gflop: Mapping[str, float], operations: Sequence[Row]) -> Callable[[Row], float | None]:
    """Operations of an arm as a share of full tuning's, what choosing took included. Without counted runs an arm that
    chooses by trial steps has none: a count that leaves the choosing out would flatter it."""
    full = next((n for way, n in gflop.items() if way.startswith("full ")), None)
    counted = [r for r in operations if not r.get("par")]

    def share(row: Row) -> float | None:
        if row["method"] == "green-trainer" and row["settings"].get("select") == "importance":
            taken = [r for r in counted if r["seed"] == row["seed"]]
            return (taken[0]["training"] + taken[0]["choosing"]) / taken[0]["full"] if taken else None
        said = set(arm_label(row).split())
        ways = [way for way in gflop if said.issuperset(way.split())]  # an arm may say more than its way does
        return gflop[max(ways, key=len)] / full if ways and full else None

    return share


def _green_and_lora(
    scores: Mapping[str, Mapping[int, float]], gflop: Mapping[str, float], operations: Sequence[Row]
) -> list[str]:
    """GreenTrainer against LoRA with the operations of both, its choosing counted: its paper compares them at equal
    operations. LoRA may have been trained for as many."""
    shares = {}
    for name in ("green-trainer", "lora"):
        way = next(way for way in gflop if way.startswith(name) and "select" not in way)
        arm = next(arm for arm in scores if arm.startswith(name) and "select" not in arm)
        shares[arm] = gflop[way] / next(n for other, n in gflop.items() if other.startswith("full "))
    (green, step), (lora, other) = shares.items()
    runs = [r for r in operations if not r.get("par")]
    if not runs:
        what = f"LoRA at {other:.1%} of full tuning's operations a step where GreenTrainer takes {step:.1%}, what its "
        return told(
            f"{what}choosing takes not counted, so not known to be on par", [(green, scores[green], scores[lora])]
        )
    total = mean([(r["training"] + r["choosing"]) / r["full"] for r in runs])
    alone = mean([r["training"] / r["full"] for r in runs])
    taken = f"GreenTrainer takes {alone:.1%} and with its choosing {total:.1%}"
    said = told(f"LoRA at {other:.1%} of full tuning's operations where {taken}: {par(total, other)}",
                [(green, scores[green], scores[lora])])  # fmt: skip
    if longer := [r for r in operations if r.get("par")]:
        share = mean([r["training"] for r in longer]) / mean([r["full"] for r in runs])
        steps = f"{longer[0]['steps']} steps instead of {runs[0]['steps']}"
        what = f"LoRA trained for {steps}, which is {share:.1%} of full tuning's operations: {par(total, share)}"
        said += told(what, [(green, scores[green], scored(longer))])
        better = apart(scores[green], scored(longer)) > 0
        verdict = "is reproduced here" if better else "is not reproduced here"
        said.append(f"\n**That GreenTrainer is better than LoRA at operations on par {verdict}.**")
    return said


def par(one: float, other: float) -> str:
    """Whether two shares of full tuning's operations are on par."""
    return "on par" if abs(one - other) <= _ON_PAR else "**not on par**"


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
    lines = [f"- {label}: {gap(found, other)}" for label, found, other in pairs]
    return [f"\nAgainst {what}, paired over seeds, 95 %:\n", *lines] if lines else []


def gap(found: Mapping[int, float], other: Mapping[int, float]) -> str:
    """The paired difference in points with its interval."""
    common = len(found.keys() & other.keys())
    one = paired_difference(found, other) if common >= 3 else None
    if one is None or one.low is None or one.high is None:
        return f"{common} seeds in common, three are needed"
    return f"{100 * one.mean:+.1f} points ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def apart(found: Mapping[int, float], other: Mapping[int, float]) -> int:
    """1 where the first is told apart above the second, -1 below, 0 where the interval holds zero or there is none."""
    one = paired_difference(found, other)
    if one is None or one.low is None or one.high is None:
        return 0
    return 1 if one.low > 0 else -1 if one.high < 0 else 0


_USUAL = (("select", "dynamics"), ("select", "importance"))


def arm_label(row: Row) -> str:
    kept = {k: v for k, v in row["settings"].items() if k != "lr" and (k, v) not in _USUAL}
    words = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in kept.items()]
    return " ".join([row["method"], f"lr={row['settings'].get('lr', 0):g}", *words])
