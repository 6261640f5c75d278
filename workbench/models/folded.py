"""A convolutional net with its batch norms folded away: what an integer graph is made from.

Ranges of maps need no data: ReLU6 ends at 6, and a batch norm says mean and spread of what leaves it (as in
"Data-Free Quantization", Nagel et al., 2019); a residual sum spreads like a sum of independent values. A norm that has
never seen data says nothing; its mean and variance are then those that independent inputs would have, so that random
weights give maps that are alive.
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
CLIPPED = (0.3989, 0.3408)  #: mean and variance of ReLU6 of a standard normal value
Moments = tuple[float, float]


@dataclass(frozen=True)
class FoldedConv:
    """A convolution with its norm in it: ``weight`` (outputs, channels per group, height, width), ``bias``.

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
        last = _fold("stem", "", net.stem_conv, net.stem_norm, net.stem_pad, True, (0.0, 1.0))
        yield last
        name, bound, moments = "stem", last.bound, CLIPPED
        for index, block in enumerate(net.blocks):
            assert isinstance(block, InvertedResidual)
            source, before, variance = name, bound, moments[1]
            for layer in _block(f"block{index}", source, block, moments):
                yield layer
                name, bound = layer.name, layer.bound
            moments = (moments[0] if block.skip else 0.0, 1.0 + (variance if block.skip else 0.0))
            if block.skip:
                bound = (bound.square() + before.square()).sqrt()
                yield FoldedAdd(f"block{index}_add", (source, name), bound)
                name = f"block{index}_add"
        yield _fold("head", name, net.head_conv, net.head_norm, None, True, moments)


def _block(name: str, source: str, block: InvertedResidual, moments: Moments) -> Iterator[FoldedConv]:
    if block.expand_conv is not None:
        yield _fold(f"{name}_expand", source, block.expand_conv, block.expand_norm, None, True, moments)
        source, moments = f"{name}_expand", CLIPPED
    yield _fold(f"{name}_depthwise", source, block.depthwise_conv, block.depthwise_norm, block.pad, True, moments)
    yield _fold(f"{name}_project", f"{name}_depthwise", block.project_conv, block.project_norm, None, False, CLIPPED)


def _statistics(conv: nn.Conv2d, norm: nn.BatchNorm2d, moments: Moments) -> tuple[Tensor, Tensor]:
    """Mean and variance by channel: the norm's, or those of a fresh net whose inputs have these ``moments``."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    if mean.is_meta or mean.any() or variance.ne(1).any():
        return mean, variance
    weight = conv.weight.flatten(1)
    return moments[0] * weight.sum(1), (moments[1] * weight.square().sum(1)).clamp(min=1e-6)


def _fold(
    name: str, source: str, conv: nn.Module, norm: nn.BatchNorm2d, pad: nn.Module | None, clipped: bool,
    moments: Moments,
) -> FoldedConv:  # fmt: skip
    assert isinstance(conv, nn.Conv2d)
    mean, variance = _statistics(conv, norm, moments)
    factor = norm.weight / (variance + norm.eps).sqrt()
    own = (conv.padding[1], conv.padding[1], conv.padding[0], conv.padding[0])
    padding = tuple(int(p) for p in (pad.padding if isinstance(pad, nn.ZeroPad2d) else own))
    spread = (norm.bias.abs() + DEVIATIONS * norm.weight.abs()).amax().clamp(min=1e-3)
    return FoldedConv(
        name,
        source,
        conv.weight.detach() * factor[:, None, None, None],
        (norm.bias - mean * factor).detach(),
        (conv.stride[0], conv.stride[1]),
        padding,  # type: ignore[arg-type]
        conv.groups,
        clipped,
        torch.full_like(spread, SIX) if clipped else spread.detach(),
    )


def input_bound(net: EfficientNetLite, like: Tensor) -> Tensor:
    """The largest magnitude of an input value, in the form of ``like``."""
    return torch.full_like(like, INPUT_RANGE[net.signal])
