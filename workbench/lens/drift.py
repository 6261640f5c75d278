"""What probing does to the weights: a walk in place and back leaves them rounded, perturbed copies leave every bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.engine.noise import Noise, numbered

if TYPE_CHECKING:
    from workbench.case import Case

FORMATS = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Drift:
    """After ``probes`` probes without an update: |now - before| / |before| over all weights, and how many changed."""

    numbers: str
    way: str
    probes: int
    relative: float
    changed: float

    def row(self) -> dict[str, object]:
        return {
            "Numbers": self.numbers,
            "Way": self.way,
            "Probes": self.probes,
            "Relative drift": f"{self.relative:.2g}" if self.relative else "0, to the bit",
            "Elements changed": f"{self.changed:.1%}",
        }


def drift(case: Case, probes: Sequence[int] = (10, 200), *, seed: int = 0) -> list[Drift]:
    """Both ways in both number formats, measured on the case's model; ``case`` is a two-sided one.

    The walk adds eps z, then -2 eps z, then eps z. The copies are those of the case's own step at rate zero.
    """
    if not probes or min(probes) < 1:
        raise BadInput("probes", list(probes), "whole numbers of at least 1")
    return [one for dtype in FORMATS for one in _drift(case, dtype, sorted(probes), seed)]


def _drift(case: Case, dtype: torch.dtype, probes: Sequence[int], seed: int) -> Iterator[Drift]:
    step = case.step(case.attached(seed=seed).to(dtype).eval())
    step.set_lr(0.0)
    weights = [p.detach() for p in step.parameters]
    places, before = numbered(range(len(weights))), [w.clone() for w in weights]
    batch = [{n: t.to(dtype) if t.is_floating_point() else t for n, t in b.items()} for b in case.example()]
    eps = float(case.config.perturbation)

    def copies(index: int) -> None:
        step(batch, seed=index)

    def walk(index: int) -> None:
        for scale in (eps, -2 * eps, eps):
            Noise([derive(index, "walk")], [scale]).add_(weights, places)

    for way, probe in (("perturbed copies", copies), ("walk in place", walk)):
        done = 0
        for until in probes:
            for index in range(done, until):
                probe(index)
            done = until
            yield Drift(str(dtype).removeprefix("torch."), way, until, *_moved(weights, before))


def _moved(weights: Sequence[torch.Tensor], before: Sequence[torch.Tensor]) -> tuple[float, float]:
    pairs = list(zip(weights, before, strict=True))
    off = sum(float((w.double() - b.double()).pow(2).sum()) for w, b in pairs)
    size = sum(float(b.double().pow(2).sum()) for b in before)
    changed = sum(int((w != b).sum()) for w, b in pairs)
    return (off / size) ** 0.5, changed / sum(b.numel() for b in before)
