"""Live bytes along one step with updates at their gradients and with updates at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.info import FigureInfo

if TYPE_CHECKING:
    from workbench.lens.update_order import Ordering

MOST = 240  #: points of a drawn line; of each stretch the highest is kept, so the peak always is


@dataclass(frozen=True)
class Line:
    """One order of one step: ``at`` are places in the step from 0 to 1, ``live`` and ``gradients`` bytes there."""

    label: str
    at: tuple[float, ...]
    live: tuple[int, ...]
    gradients: tuple[int, ...]
    peak: int
    most_gradients: int


@dataclass(frozen=True)
class Pair:
    """Both orders of one way of tuning."""

    way: str
    lines: tuple[Line, ...]

    @property
    def sentence(self) -> str:
        early, late = self.lines
        return (
            f"peak {format_size(early.peak)} against {format_size(late.peak)}, "
            f"gradients {format_size(early.most_gradients)} against {format_size(late.most_gradients)}"
        )


@dataclass(frozen=True)
class UpdateOrderInfo(FigureInfo):
    """The live bytes of the schedule by way of tuning."""

    kind: ClassVar[str] = "update_order"

    pairs: tuple[Pair, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"way": p.way, "order": line.label, "place": at, "live bytes": live, "gradient bytes": gradients}
            for p in self.pairs
            for line in p.lines
            for at, live, gradients in zip(line.at, line.live, line.gradients)
        ]


CAPTURED = (
    "Bytes made in the step that are alive while each entry of its schedule runs, from the shapes of the captured "
    "graph; weights, optimizer state and workspace are left out. With large activations the peak stands at the start "
    "of the backward pass, before any gradient exists, and moving updates cannot lower it."
)
PLANNED = (
    "Bytes of buffers that are alive at each instruction of the planned step; trained tensors and the state of their "
    "update rule lie beside them. Maps are int8 and gradients of weights int32, so waiting gradients decide the peak."
)


def update_order(found: Mapping[str, Sequence[Ordering]], caption: str = CAPTURED) -> UpdateOrderInfo:
    """The picture of :func:`workbench.lens.update_order.orderings` by way of tuning."""
    pairs = tuple(Pair(way, tuple(map(_line, orders))) for way, orders in found.items())
    said = "; ".join(f"{p.way}: {p.sentence}" for p in pairs)
    return UpdateOrderInfo(
        title="What updating early saves",
        caption=caption,
        alt=f"Live bytes with early updates against late ones: {said}." if said else "No step was captured.",
        runs=(),
        pairs=pairs,
    )


def _line(order: Ordering) -> Line:
    stretch = max(1, -(-len(order.totals) // MOST))
    starts = range(0, len(order.totals), stretch)
    chosen = [max(range(i, min(i + stretch, len(order.totals))), key=order.totals.__getitem__) for i in starts]
    last = max(1, len(order.totals) - 1)
    return Line(
        order.label,
        tuple(round(i / last, 4) for i in chosen),
        tuple(order.totals[i] for i in chosen),
        tuple(order.gradients[i] for i in chosen),
        order.peak,
        order.most_gradients,
    )
