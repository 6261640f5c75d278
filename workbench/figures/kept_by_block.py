"""What each inverted residual keeps for backward: torch, a leaner framework, MobileTL, and the paper's own figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from workbench.core.units import format_size
from workbench.figures.info import FigureInfo, percent

STOCK, SHARED, LEAN = "torch", "result shared with the next convolution", "MobileTL"


class Kept(Protocol):
    """See :class:`workbench.lens.kept_by_block.KeptByBlock`."""

    @property
    def block(self) -> str: ...
    @property
    def stock(self) -> int: ...
    @property
    def shared(self) -> int: ...
    @property
    def lean(self) -> int: ...


@dataclass(frozen=True)
class Bars:
    """Bytes by block of one way."""

    label: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class KeptByBlockInfo(FigureInfo):
    """Three bars for each block. ``less`` are shares by which the last way lies below each of the others, in sum."""

    kind: ClassVar[str] = "kept_by_block"

    blocks: tuple[str, ...]
    bars: tuple[Bars, ...]
    less: tuple[float, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"way": bars.label, "block": block, "bytes kept": size}
            for bars in self.bars
            for block, size in zip(self.blocks, bars.sizes)
        ]


def kept_by_block(found: Sequence[Kept], headline: str = "", provenance: str = "") -> KeptByBlockInfo:
    """The picture of :func:`workbench.lens.kept_by_block.kept_by_block`; ``headline`` is what the paper says itself."""
    bars = (
        Bars(STOCK, tuple(k.stock for k in found)),
        Bars(SHARED, tuple(k.shared for k in found)),
        Bars(LEAN, tuple(k.lean for k in found)),
    )
    sums = [sum(b.sizes) for b in bars]
    less = tuple(1 - sums[2] / s if s else 0.0 for s in sums[:2])
    said = (
        f"All blocks together: {format_size(sums[2])}, {percent(less[0])} less than torch and {percent(less[1])} less "
        "than a framework whose activations keep no map of their own"
    )
    paper = f" The paper ({provenance}): {headline}." if headline else ""
    return KeptByBlockInfo(
        title="What a block keeps for backward",
        caption="Measured on each block alone, every storage once, without weights. The middle bar is torch with ReLU, "
        "whose gradient reads the result that the next convolution keeps anyway (unless a pad stands between): the "
        f"leaner of the two baselines that a saving can be a share of. {said}.{paper}",
        alt=f"Bytes kept by block. {said}.",
        runs=(),
        blocks=tuple(k.block.rpartition(".")[2] for k in found),
        bars=bars,
        less=less,
    )
