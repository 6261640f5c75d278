"""Few bits: the score of every arm by width of the weights, and how many codes noise flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from workbench.figures.info import FigureInfo, percent
from workbench.figures.style import MARKERS, PALETTE
from workbench.figures.table import Column, Table
from workbench.stats import mean, t_interval


class Outcome(Protocol):
    """See :class:`workbench.studies.quantized_arms.Outcome`."""

    @property
    def arm(self) -> str: ...
    @property
    def bits(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def score(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def moved(self) -> float | None: ...
    @property
    def predicted(self) -> int | None: ...
    @property
    def profile(self) -> Any: ...


class Flips(Protocol):
    """See :class:`workbench.lens.code_flips.Flips`."""

    @property
    def eps(self) -> float: ...
    @property
    def flipped(self) -> float: ...
    @property
    def silent(self) -> float: ...
    @property
    def size(self) -> float: ...
    @property
    def size_held(self) -> float: ...
    @property
    def kinship(self) -> float | None: ...


@dataclass(frozen=True)
class Line:
    """One arm: held-out loss by width, with its 95 % interval over seeds where there are several."""

    label: str
    colour: str
    marker: str
    bits: tuple[int, ...]
    losses: tuple[float, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]


@dataclass(frozen=True)
class FewBitsInfo(FigureInfo):
    """``whole``: held-out loss of the float model; ``flips`` by perturbation, one (bits, eps, share) each."""

    kind: ClassVar[str] = "few_bits"

    lines: tuple[Line, ...]
    whole: float | None
    flips: tuple[tuple[int, float, float], ...]

    def rows(self) -> list[dict[str, Any]]:
        arms = [
            {"arm": line.label, "bits": bits, "loss": loss, "low": low, "high": high}
            for line in self.lines
            for bits, loss, low, high in zip(line.bits, line.losses, line.lows, line.highs)
        ]
        return arms + [{"bits": bits, "eps": eps, "flipped": share} for bits, eps, share in self.flips]


def few_bits(
    found: Sequence[Outcome], whole: float | None = None, flips: Sequence[tuple[int, Flips]] = ()
) -> FewBitsInfo:
    """The picture of :func:`workbench.studies.quantized_arms.quantized_arms` and of flips by width."""
    names = list(dict.fromkeys(o.arm for o in found))
    lines = tuple(_line(name, [o for o in found if o.arm == name], i) for i, name in enumerate(names))
    told = "; ".join(
        f"{line.label}: {', '.join(f'{v:.3f} at {b}' for b, v in zip(line.bits, line.losses))}" for line in lines
    )
    return FewBitsInfo(
        title="Held-out loss at few bits, and codes that flip",
        caption="Left: loss on test examples by bits of the weights; bars are 95 % intervals over seeds, the dashed "
        "line is the float model that all arms start from. Right: share of weight codes that differ between the two "
        "probes of one slope, by size of the perturbation.",
        alt=f"Held-out loss by bits. {told}." if told else "Nothing was quantized.",
        runs=(),
        lines=lines,
        whole=whole,
        flips=tuple((bits, f.eps, f.flipped) for bits, f in flips),
    )


def _line(name: str, found: Sequence[Outcome], place: int) -> Line:
    widths = sorted({o.bits for o in found})
    values = [[o.loss for o in found if o.bits == bits] for bits in widths]
    spreads = [t_interval(v) if len(v) > 1 else None for v in values]
    again = place // len(PALETTE)  # more arms than colours: the same colour has another marker
    colour, marker = PALETTE[place % len(PALETTE)], MARKERS[(place + again) % len(MARKERS)]
    return Line(
        name, colour, marker, tuple(widths), tuple(map(mean, values)),
        tuple(s.low if s else None for s in spreads), tuple(s.high if s else None for s in spreads),
    )  # fmt: skip


def few_bits_table(found: Sequence[Outcome]) -> Table:
    """One row for each arm and width: score, held-out loss, codes that training moved, bytes."""
    columns = (
        Column("bits", "Bits"),
        Column("arm", "Arm"),
        Column("score", "Score (95 %)"),
        Column("loss", "Held-out loss (95 %)"),
        Column("moved", "Codes moved"),
        Column("lr", "Rate"),
        Column("weights", "Weights", "bytes"),
        Column("saved", "Saved for backward", "bytes"),
        Column("peak", "Peak of a step", "bytes"),
        Column("error", "Predicted less measured", "difference"),
    )
    keys = dict.fromkeys((o.bits, o.arm) for o in found)
    rows = tuple(_row([o for o in found if (o.bits, o.arm) == key]) for key in keys)
    text = (
        "Scores, losses and bytes are measured. Codes moved: share of the integers that training left changed. "
        "Arms that do not train have one run. Rates were chosen by training loss."
    )
    return Table(columns, rows, text)


def _row(found: Sequence[Outcome]) -> dict[str, Any]:
    one = found[0]
    row: dict[str, Any] = {
        "bits": one.bits,
        "arm": one.arm,
        "score": _shown([o.score for o in found], percent),
        "loss": _shown([o.loss for o in found], lambda v: f"{v:.4f}"),
        "lr": f"{one.lr:g}" if one.lr else None,
    }
    moved = [o.moved for o in found if o.moved is not None]
    row["moved"] = f"{mean(moved):.3%}" if moved else None
    if one.profile is not None:
        sizes = {str(category): size for category, size in one.profile.by_category.items()}
        row |= {"weights": sizes.get("weights"), "saved": one.profile.saved, "peak": one.profile.peak}
        row["error"] = None if one.predicted is None else one.predicted - one.profile.peak
    return row


def _shown(values: Sequence[float], tell: Any) -> str:
    if len(values) < 2:
        return str(tell(values[0]))
    found = t_interval(list(values))
    if found.low is None or found.high is None:
        return str(tell(found.mean))
    return f"{tell(found.mean)} ({tell(found.low)} to {tell(found.high)})"


def flips_table(flips: Sequence[tuple[str, Flips]]) -> Table:
    """One row for each label and perturbation: what the noise reaches, and what a slope owes to it."""
    columns = (
        Column("label", "Weights"),
        Column("eps", "Perturbation"),
        Column("flipped", "Codes flipped"),
        Column("silent", "Slopes that are exactly 0"),
        Column("held", "Slope with codes held, of the whole"),
        Column("kinship", "Cosine of the two"),
    )
    rows = tuple(
        {
            "label": label,
            "eps": f"{f.eps:g}",
            "flipped": f"{f.flipped:.3%}",
            "silent": percent(f.silent, 0),
            "held": f"{f.size_held / f.size:.2f}" if f.size else None,
            "kinship": None if f.kinship is None else f"{f.kinship:.2f}",
        }
        for label, f in flips
    )
    text = (
        "Measured on one batch along the same directions. With codes held, only scales, clips and what is not "
        "quantized move: the nearer that is to 1 in both columns, the less the slope says about the integers."
    )
    return Table(columns, rows, text)


def few_bits_answer(found: Sequence[Outcome]) -> str:
    """What the arms say at the fewest bits, in two sentences that follow from the numbers."""
    if not found:
        return "Nothing was quantized."
    fewest = min(o.bits for o in found)
    arms = {
        name: [o for o in found if o.arm == name and o.bits == fewest] for name in dict.fromkeys(o.arm for o in found)
    }
    told = "; ".join(f"{name} {mean([o.loss for o in runs]):.3f}" for name, runs in arms.items() if runs)
    first = f"Held-out loss at {fewest}-bit weights: {told}."
    ours, plain = arms.get("ZeroQAT"), arms.get("clip, then round")
    if not ours or not plain:
        return first
    spread = t_interval([o.loss for o in ours]) if len(ours) > 1 else None
    if spread is None or spread.low is None or spread.high is None:
        return f"{first}\nWith one seed, whether forwards alone add to what ZeroQAT starts from is not told."
    count = f"{len(ours)} seeds"
    if spread.high < plain[0].loss:
        return f"{first}\nTraining by forwards alone beats its own start, clipping and rounding, over {count}."
    if spread.low > plain[0].loss:
        return f"{first}\nTraining by forwards alone is worse than its own start, clipping and rounding, over {count}."
    return f"{first}\nTraining by forwards alone is not told apart from its start, clipping and rounding, by {count}."
