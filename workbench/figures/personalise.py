"""What tokens learned in different ways draw, and what learning them took: bytes, time, score with interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.profile import Category
from workbench.core.units import format_size
from workbench.figures.drawings import DrawingsInfo, drawings
from workbench.figures.info import percent
from workbench.figures.table import Column, Table
from workbench.records.schema import RunRecord
from workbench.stats import paired_difference, t_interval

if TYPE_CHECKING:
    import numpy as np

    from workbench.studies.personalise import LearnedToken

SCORE = (
    "Recognised: of 120 pictures that the learned token draws, the share that a classifier takes for the new kind; it "
    "was trained on real pictures that neither the denoiser nor the token saw. Distance: energy distance in pixels to "
    "held-out real pictures of the new kind, estimated without bias, so slightly negative where there is none."
)


def _scores(arm: LearnedToken, name: str = "value") -> dict[int, float]:
    found: dict[int, Mapping[str, Any]] = {r.seed: r.score for r in arm.records if r.score}
    return {s: float(v["value"] if name == "value" else v["details"][name]) for s, v in found.items()}


def _spread(values: Sequence[float], shown: Any) -> str | None:
    if not values:
        return None
    found = t_interval(values)
    text: str = shown(found.mean)
    if found.low is None or found.high is None:
        return text
    return f"{text} ({shown(found.low)} to {shown(found.high)})"


def personalise_table(arms: Sequence[LearnedToken]) -> Table:
    """One row for each arm: scores with 95 % intervals over seeds, bytes of a step by category, step time."""
    columns = (
        Column("label", "Arm"),
        Column("recognised", "Recognised (95 %)"),
        Column("distance", "Distance (95 %)"),
        Column("predicted", "Peak, predicted", "bytes"),
        Column("measured", "Peak, measured", "bytes"),
        Column("error", "Predicted less measured", "difference"),
        Column("weights", "Weights", "bytes"),
        Column("saved", "Saved for backward", "bytes"),
        Column("state", "Token's state", "bytes"),
        Column("seconds", "Step", "seconds"),
    )
    text = f"{SCORE} Bytes are measured by the allocator's ledger; the state is Adam's and the token's history."
    return Table(columns, tuple(_row(arm) for arm in arms), text)


def _row(arm: LearnedToken) -> dict[str, Any]:
    first: RunRecord = arm.records[0]
    predicted, measured = first.predicted, first.measured
    parts = measured.by_category if measured is not None else {}
    times = [r.step_time.value for r in arm.records if r.step_time is not None and r.step_time.value is not None]
    return {
        "label": arm.label,
        "recognised": _spread(list(_scores(arm).values()), percent) or f"{first.state}: {first.reason}",
        "distance": _spread(list(_scores(arm, "distance").values()), lambda v: f"{v:.2f}"),
        "predicted": None if predicted is None else predicted.peak,
        "measured": None if measured is None else measured.peak,
        "error": None if predicted is None or measured is None else predicted.peak - measured.peak,
        "weights": parts.get(Category.WEIGHTS),
        "saved": parts.get(Category.SAVED),
        "state": parts.get(Category.OPTIMIZER),
        "seconds": min(times, default=None),
    }


#: What the paper says of its parts: (arm, arm without the part, the claim).
CLAIMS = (
    ("ZOODiP", "backprop, fp32", "without backpropagation a token draws about as well"),
    ("with all timesteps", "plain zeroth-order", "the subspace gradient helps, at all times"),
    ("ZOODiP", "without subspace", "the subspace gradient helps, in the window"),
    ("without subspace", "plain zeroth-order", "the window of times helps, without the subspace"),
    ("ZOODiP", "with all timesteps", "the window of times helps, with the subspace"),
    ("window by the gap", "plain zeroth-order", "a window chosen here by the token's gap helps, without the subspace"),
)


def personalise_directions(arms: Sequence[LearnedToken]) -> Table:
    """Each claim of the paper against the paired difference over seeds."""
    known = {arm.label: arm for arm in arms}
    columns = (
        Column("claim", "The paper's claim"),
        Column("found", "Difference in recognised"),
        Column("told", "Here"),
    )
    rows = [
        {"claim": claim, **_judged(known[one], known[other], alike="as well" in claim)}
        for one, other, claim in CLAIMS
        if one in known and other in known
    ]
    text = "Paired over seeds, in points, with 95 % intervals. Small tokens: the paper's token has 768 numbers."
    return Table(columns, tuple(rows), text)


def _judged(one: LearnedToken, other: LearnedToken, *, alike: bool) -> dict[str, Any]:
    found = paired_difference(_scores(one), _scores(other))
    if found is None or found.low is None or found.high is None:
        return {"found": None if found is None else f"{found.mean * 100:+.1f}", "told": "one seed tells nothing"}
    span = f"{found.mean * 100:+.1f} ({found.low * 100:+.1f} to {found.high * 100:+.1f})"
    if found.high < 0:
        return {"found": span, "told": "not reproduced at this scale: worse"}
    if found.low > 0:
        return {"found": span, "told": "reproduced"}
    return {"found": span, "told": "no difference was told" if alike else "not told apart at this scale"}


def personalise_answer(arms: Sequence[LearnedToken]) -> str:
    """Bytes of ZOODiP against backpropagation and the paired difference of their scores; below, what each part did."""
    known = {arm.label: arm for arm in arms}
    base, ours = known.get("backprop, fp32"), known.get("ZOODiP")
    if base is None or ours is None or base.records[0].measured is None or ours.records[0].measured is None:
        return "There is nothing to compare: backpropagation or ZOODiP has no result."
    whole, part = base.records[0].measured.peak, ours.records[0].measured.peak
    head = (
        f"A step of ZOODiP needs {format_size(part)}, one of backpropagation {format_size(whole)}: "
        f"{whole / part:.1f} times as much. {_against(ours, base)}"
    )
    others = [_against(known[label], ours) for label in ("without subspace", "with all timesteps") if label in known]
    return f"{head}\n{' '.join(others)}" if others else head


def _against(one: LearnedToken, other: LearnedToken) -> str:
    found = paired_difference(_scores(one), _scores(other))
    if found is None:
        return f"{one.label} has no score to compare with {other.label}."
    text = f"{one.label}: {found.mean * 100:+.0f} points recognised against {other.label}"
    if found.low is None or found.high is None:
        return f"{text} (one seed, no interval)."
    told = ", not told apart" if found.low <= 0 <= found.high else ""
    return f"{text} ({found.low * 100:+.0f} to {found.high * 100:+.0f} over {found.count} seeds{told})."


def personalise_drawings(arms: Sequence[LearnedToken], real: np.ndarray, before: np.ndarray) -> DrawingsInfo:
    """Real pictures, what the token draws as it begins, and what each arm's first seed draws, with its score."""
    shown = {"real, to learn from": real, "token as it begins": before}
    shown |= {arm.label: arm.drawings for arm in arms}
    notes = {}
    for arm in arms:
        seed = arm.records[0].seed
        score = _scores(arm).get(seed)
        notes[arm.label] = "" if score is None else f"{percent(score, 0)} recognised"
    return drawings(shown, notes, [arm.records[0].id for arm in arms])
