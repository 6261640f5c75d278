"""A convolutional net with its batch norms folded away: what an integer graph is made from.

Ranges of maps need no data: ReLU6 ends at 6, and a batch norm says mean and spread of what leaves it (as in
"Data-Free Quantization", Nagel et al., 2019); a residual sum spreads like a sum of independent values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.models.efficientnet_lite import EfficientNetLite, InvertedResidual

DEVIATIONS = 4.0  #: a map is taken to stay within so many standard deviations of its channel's mean
INPUT_RANGE = {False: 1.0, True: 4.0}  #: pictures are scaled to about [-1, 1]; sensor channels are standardised
SIX = 6.0


@dataclass(frozen=True)
class FoldedConv:
    """One convolution with its norm in it. ``weight`` (outputs, channels per group, height, width), ``bias`` (outputs,).

    ``padding`` is (left, right, top, bottom). ``bound``: the largest magnitude of the output, one number;
    ``clipped``: a ReLU6 follows, so the output lies in [0, 6].
    """

    name: str
    source: str
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int
    clipped: bool
    bound: Tensor


@dataclass(frozen=True)
class FoldedAdd:
    """A residual sum of the outputs of two layers."""

    name: str
    sources: tuple[str, str]
    bound: Tensor


def folded(net: EfficientNetLite) -> Iterator[FoldedConv | FoldedAdd]:
    """The layers in forward order. Works on meta, where every number is a shape."""
    with torch.no_grad():
        last = _fold("stem", "", net.stem_conv, net.stem_norm, net.stem_pad, True)
        yield last
        name, bound = "stem", last.bound
        for index, block in enumerate(net.blocks):
            assert isinstance(block, InvertedResidual)
            source, before = name, bound
            for layer in _block(f"block{index}", source, block):
                yield layer
                name, bound = layer.name, layer.bound
            if block.skip:
                bound = (bound.square() + before.square()).sqrt()
                yield FoldedAdd(f"block{index}_add", (source, name), bound)
                name = f"block{index}_add"
        yield _fold("head", name, net.head_conv, net.head_norm, None, True)


def _block(name: str, source: str, block: InvertedResidual) -> Iterator[FoldedConv]:
    if block.expand_conv is not None:
        yield _fold(f"{name}_expand", source, block.expand_conv, block.expand_norm, None, True)
        source = f"{name}_expand"
    yield _fold(f"{name}_depthwise", source, block.depthwise_conv, block.depthwise_norm, block.pad, True)
    yield _fold(f"{name}_project", f"{name}_depthwise", block.project_conv, block.project_norm, None, False)


def _fold(
    name: str, source: str, conv: nn.Module, norm: nn.BatchNorm2d, pad: nn.Module | None, clipped: bool
) -> FoldedConv:
    assert isinstance(conv, nn.Conv2d) and norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    own = (conv.padding[1], conv.padding[1], conv.padding[0], conv.padding[0])
    padding = tuple(int(p) for p in (pad.padding if isinstance(pad, nn.ZeroPad2d) else own))
    spread = (norm.bias.abs() + DEVIATIONS * norm.weight.abs()).amax().clamp(min=1e-3)
    return FoldedConv(
        name,
        source,
        conv.weight.detach() * factor[:, None, None, None],
        (norm.bias - norm.running_mean * factor).detach(),
        (conv.stride[0], conv.stride[1]),
        padding,  # type: ignore[arg-type]
        conv.groups,
        clipped,
        torch.full_like(spread, SIX) if clipped else spread.detach(),
    )


def input_bound(net: EfficientNetLite, like: Tensor) -> Tensor:
    """The largest magnitude of an input value, in the form of ``like``."""
    return torch.full_like(like, INPUT_RANGE[net.signal])
