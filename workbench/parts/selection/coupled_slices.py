"""A few heads and feed-forward channels, made contiguous by a co-permutation and trained as dense slices (S2FT)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.coupled import Coupled, coupled, reorder
from workbench.models.sliced_adapter import Slices, keep_slices
from workbench.models.structure import head
from workbench.nn.extra_product import ExtraProduct
from workbench.nn.sliced_linear import SlicedLinear, SlicedRows


@dataclass(frozen=True)
class CoupledSlices:
    """Slices of coupled matrices train, and a fresh head. All else is frozen.

    ``heads`` and ``channels`` are the shares that train, ``matrices`` which of their matrices do.

    ``select`` is ``random``, ``weight``, or what :class:`workbench.parts.estimator.calibrated.Calibrated` puts in front
    at the first step. ``pooled`` random units are drawn from all blocks together, so that blocks train different
    numbers; those follow from ``draw`` alone, which units they are from the run's seed. ``compute`` is ``slice``, or
    one of two lazy ways: ``mask`` trains whole matrices whose gradient is masked later, ``delta`` a second product.
    """

    heads: float = 0.0
    channels: float = 0.03
    matrices: tuple[str, ...] = ("o", "down")
    select: str = "random"
    prefer: str = "largest"
    pooled: bool = True
    draw: int = 0
    compute: str = "slice"

    def attach(self, model: nn.Module) -> nn.Module:
        generator = np.random.default_rng(int(torch.randint(2**62, (), device="cpu")))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        everything = coupled(model)
        made = [
            self._cut(model, structure, count, generator)
            for share, kind in ((self.heads, "attention"), (self.channels, "feed-forward"))
            for structure, count in self._counts(share, [c for c in everything if c.kind == kind])
        ]
        if not made:
            raise Incompatible("method", "s2ft", "heads and channels are both 0, or none of their matrices is named")
        self._train_the_head(model)
        keep_slices(model, made)
        return model

    def _counts(self, share: float, structures: Sequence[Coupled]) -> Iterator[tuple[Coupled, int]]:
        """How many units of each structure train; structures without any are left out."""
        named = {role for c in structures for role in c.matrices} & set(self.matrices)
        if not share or not named:
            return
        units = [c.units for c in structures]
        if self.pooled and self.select == "random":
            total = max(1, round(share * sum(units)))
            counts = np.random.default_rng(self.draw).multivariate_hypergeometric(units, total)
        else:
            counts = np.array([max(1, round(share * count)) for count in units])
        yield from ((c, int(count)) for c, count in zip(structures, counts) if count)

    def _cut(self, model: nn.Module, structure: Coupled, count: int, generator: np.random.Generator) -> Slices:
        """Bring the chosen units to the front and let their slices train."""
        chosen = structure.at_random(count, generator)
        weight = model.get_parameter(f"{structure.consumer}.weight")
        order = list(range(structure.units))
        if not weight.is_meta and self.select in ("random", "weight"):
            if self.select == "weight":
                norms = weight.detach().square().sum(0).view(structure.units, structure.width).sum(1)
                chosen = structure.best(signed(norms.double().numpy(), self.prefer), count)
            order = structure.led_by(chosen)
            reorder(model, structure, order)
        cut = {r: n for r, n in structure.matrices.items() if r in self.matrices}
        for role, name in cut.items():
            self._replace(model, name, len(structure.channels(role, range(count))), rows=role in structure.producers)
        return Slices(structure, count, cut, order)

    def _replace(self, model: nn.Module, name: str, channels: int, *, rows: bool) -> None:
        source = model.get_submodule(name)
        if self.compute == "mask":
            source.weight.requires_grad_(True)
            return
        if self.compute == "delta" and rows:
            raise Incompatible("method", "s2ft", "compute=delta is there for o and down, the matrices of the default")
        kind = SlicedRows if rows else SlicedLinear if self.compute == "slice" else ExtraProduct
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, kind(source, channels))  # type: ignore[arg-type]

    @staticmethod
    def _train_the_head(model: nn.Module) -> None:
        """A fresh head trains whole; one that is tied to the embedding stays frozen."""
        output = head(model)
        tied = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        fresh = getattr(model, "pintpot_kind", "") not in ("causal-lm", "seq2seq-lm")
        for parameter in output[1].parameters() if output and fresh else ():
            parameter.requires_grad_(id(parameter) not in tied)


def signed(scores: np.ndarray, prefer: str) -> np.ndarray:
    """Scores of which the highest are wanted."""
    return scores if prefer == "largest" else -scores
