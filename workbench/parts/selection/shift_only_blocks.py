"""Train the last inverted residuals; inside each, norms train their shift only (MobileTL, Chiang et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.efficientnet_lite import InvertedResidual
from workbench.models.structure import blocks, upper
from workbench.nn.lean_frozen import freeze_norm


@dataclass(frozen=True)
class ShiftOnlyBlocks:
    """The deepest ``count`` blocks, every layer after them and the head train, but for scale and statistics of the
    norms after expansion and depthwise convolution. The norm after the projection trains whole.

    ``lean`` false asks torch's own norm not to train its scale, which keeps the norm's whole input.
    """

    count: int
    lean: bool = True

    def attach(self, model: nn.Module) -> nn.Module:
        residuals = [module for _, module in blocks(model) if isinstance(module, InvertedResidual)]
        if not residuals:
            raise Incompatible("method", "mobile-tl", "the model has no inverted residual block")
        wanted = upper(model, self.count, "mobile-tl.blocks")
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in wanted)
        for block in residuals[len(residuals) - self.count :]:
            for norm in inner_norms(block):
                freeze_norm(norm, lean=self.lean)
        return model


def inner_norms(block: InvertedResidual) -> Iterator[nn.BatchNorm2d]:
    """The norms between the convolutions of a block, in forward order."""
    if block.expand_conv is not None:
        yield block.expand_norm
    yield block.depthwise_norm
