"""What the backward pass of each way of tuning still visits, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.info import FigureInfo
from workbench.figures.layers import in_order

if TYPE_CHECKING:
    from workbench.lens.visited import Visits


@dataclass(frozen=True)
class Way:
    """One way of tuning; each tuple has one entry per layer of ``VisitedInfo.layers``.

    ``trained`` is the share of the layer's parameters that trains.
    """

    label: str
    forward_flops: tuple[int, ...]
    backward_flops: tuple[int, ...]
    forward_calls: tuple[int, ...]
    backward_calls: tuple[int, ...]
    saved: tuple[int, ...]
    trained: tuple[float, ...]

    @property
    def sentence(self) -> str:
        """What the backward pass does beside the forward pass, in one line."""
        flops = sum(self.backward_flops) / max(1, sum(self.forward_flops))
        calls = sum(self.backward_calls)
        return f"backward {flops:.2f} x forward, {calls} calls, {format_size(sum(self.saved))} kept"


@dataclass(frozen=True)
class VisitedInfo(FigureInfo):
    """Layers in forward order, and what each way of tuning does in them."""

    kind: ClassVar[str] = "visited"
    module: ClassVar[str] = "visited"

    layers: tuple[str, ...]
    ways: tuple[Way, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "way": way.label,
                "layer": layer,
                "forward operations": way.forward_flops[i],
                "backward operations": way.backward_flops[i],
                "forward calls": way.forward_calls[i],
                "backward calls": way.backward_calls[i],
                "kept bytes": way.saved[i],
                "trained share": round(way.trained[i], 4),
            }
            for way in self.ways
            for i, layer in enumerate(self.layers)
        ]


def visited(found: Sequence[Visits]) -> VisitedInfo:
    """The picture of :func:`workbench.lens.visited.visited`, without layers that hold and compute nothing."""
    layers = [name for name in _layers(found) if any(_weighs(v, name) for v in found)]
    ways = tuple(_way(v, layers) for v in found)
    said = "; ".join(f"{w.label}: {w.sentence}" for w in ways)
    return VisitedInfo(
        title="What the backward pass still visits",
        caption="Counted on one step that ran on fake tensors: operations of matrix products, convolutions and "
        "attention, operator calls without views, and bytes kept between forward and backward, by layer. A frozen "
        "layer above the deepest trained tensor passes gradients through; below it nothing is visited.",
        alt=f"What the backward pass visits: {said}." if said else "No way of tuning was given.",
        runs=(),
        layers=tuple(layers),
        ways=ways,
    )


def _layers(found: Sequence[Visits]) -> list[str]:
    return in_order(layer.layer for v in found for layer in v.layers)


def _weighs(visits: Visits, name: str) -> bool:
    return any(
        v.layer == name and (v.parameters or v.forward_flops or v.saved or v.backward_flops) for v in visits.layers
    )


def _way(visits: Visits, layers: Sequence[str]) -> Way:
    by_name = {v.layer: v for v in visits.layers}
    kept = [by_name.get(name) for name in layers]
    names = ("forward_flops", "backward_flops", "forward_calls", "backward_calls", "saved")
    columns = {name: tuple(getattr(v, name) if v else 0 for v in kept) for name in names}
    trained = tuple(v.trained / v.parameters if v and v.parameters else 0.0 for v in kept)
    return Way(visits.way, trained=trained, **columns)
