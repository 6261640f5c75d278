"""Weight-to-gradient norm ratios by layer: the picture that shows why plain int8 descent does not move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, Protocol

from workbench.figures.info import FigureInfo


class Curve(Protocol):
    """See :class:`workbench.studies.norm_ratios.NormRatios`."""

    @property
    def label(self) -> str: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def ratios(self) -> tuple[float, ...]: ...


@dataclass(frozen=True)
class Ratios:
    """Decimal logarithms of |W| / |dL/dW| by layer."""

    label: str
    logarithms: tuple[float, ...]


@dataclass(frozen=True)
class NormRatiosInfo(FigureInfo):
    """Curves over the same layers, in forward order."""

    kind: ClassVar[str] = "norm_ratios"

    layers: tuple[str, ...]
    curves: tuple[Ratios, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"curve": c.label, "layer": layer, "log10 of the ratio": value}
            for c in self.curves
            for layer, value in zip(self.layers, c.logarithms)
        ]


def norm_ratios(found: Sequence[Curve]) -> NormRatiosInfo:
    """The picture of :func:`workbench.studies.norm_ratios.norm_ratios`; the first curve is what others are held to."""
    curves = tuple(Ratios(c.label, tuple(math.log10(max(r, 1e-30)) for r in c.ratios)) for c in found)
    said = [f"{c.label} lies {_away(c, curves[0]):.1f} decades from {curves[0].label}" for c in curves[1:]]
    return NormRatiosInfo(
        title="How large a weight is beside its gradient",
        caption="Ratio of norms of each convolution's weight and its gradient on one real batch, measured; the median "
        f"distance over layers: {'; '.join(said)}. Where a curve lies that many decades away, its layers want a rate "
        "as far from that of the float head.",
        alt=f"Norm ratios by layer: {'; '.join(said)}." if said else "One curve of norm ratios by layer.",
        runs=(),
        layers=found[0].layers if found else (),
        curves=curves,
    )


def _away(curve: Ratios, reference: Ratios) -> float:
    return median(abs(a - b) for a, b in zip(curve.logarithms, reference.logarithms))
