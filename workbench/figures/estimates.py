"""How close estimates come to the true gradient: cosine by layer, error against probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.figures.info import FigureInfo
from workbench.figures.layers import in_order

if TYPE_CHECKING:
    from workbench.lens.estimate_quality import Quality


@dataclass(frozen=True)
class EstimatesInfo(FigureInfo):
    """``cosines[q][layer]`` for each of ``probes``; ``errors`` and ``expected`` are those of the whole gradient."""

    kind: ClassVar[str] = "estimates"

    layers: tuple[str, ...]
    probes: tuple[int, ...]
    cosines: tuple[tuple[float | None, ...], ...]
    errors: tuple[float, ...]
    expected: tuple[float, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"layer": layer, "probes": q, "cosine": cosine}
            for q, line in zip(self.probes, self.cosines)
            for layer, cosine in zip(self.layers, line)
        ] + [
            {"layer": "error of the whole", "probes": q, "error": error, "expected": expected}
            for q, error, expected in zip(self.probes, self.errors, self.expected)
        ]


def estimates(found: Sequence[Quality]) -> EstimatesInfo:
    """The picture of :func:`workbench.lens.estimate_quality.estimate_quality`."""
    probes = tuple(dict.fromkeys(q.probes for q in found))
    whole = {q.probes: q for q in found if q.layer == "all layers"}
    layers = (*in_order(q.layer for q in found if q.layer != "all layers"), *(["all layers"] if whole else []))
    known = {(q.probes, q.layer): q.cosine for q in found}
    said = "; ".join(f"{p} probes: cosine {whole[p].cosine:.3f}, error {whole[p].error:.3g}" for p in probes)
    draws = found[0].draws if found else 0
    return EstimatesInfo(
        title="How close the estimate comes to the gradient",
        caption=f"Left: mean cosine to the true gradient over {draws} draws, by layer. Right: squared error of the "
        "whole estimate over the squared gradient, measured, and (d + 1) / q, which theory expects of normal noise in "
        "d weights with q probes.",
        alt=f"Estimates against the true gradient: {said}." if said else "Nothing was estimated.",
        runs=(),
        layers=layers,
        probes=probes,
        cosines=tuple(tuple(known.get((p, layer)) for layer in layers) for p in probes),
        errors=tuple(whole[p].error for p in probes if p in whole),
        expected=tuple(whole[p].expected_error for p in probes if p in whole),
    )
