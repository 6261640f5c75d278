"""Rebuild an inverted-residual net as an integer graph, or as the folded float graph it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.models.efficientnet_lite import EfficientNetLite
from workbench.models.folded import FoldedAdd, FoldedConv, folded, input_bound
from workbench.nn.folded_net import FoldedLayer, FoldedNet, FoldedSum
from workbench.nn.integer_arithmetic import Geometry
from workbench.nn.integer_layers import IntegerAdd, IntegerConv, Levels
from workbench.nn.integer_net import IntegerNet
from workbench.nn.update_set import UpdateSet

Graph = Literal["int8", "float", "fake"]


def _levels(bound: Tensor, clipped: bool) -> Levels:
    """ReLU6 uses all 256 levels for [0, 6]; everything else is symmetric around zero."""
    return Levels(bound / 255, -128) if clipped else Levels(bound / 127, 0)


@dataclass(frozen=True)
class IntegerGraph:
    """The net as ``graph`` says, with the tensors of ``updates`` and the float head trained and nothing else.

    ``everything``: gradients of all tensors are computed, and those outside ``updates`` thrown away.
    """

    graph: Graph
    updates: UpdateSet
    everything: bool = False

    def encode(self, model: nn.Module) -> nn.Module:
        if not isinstance(model, EfficientNetLite):
            raise Incompatible("method", "int8-training", "its graph is made from inverted-residual nets only")
        net = integer_net(model) if self.graph == "int8" else folded_net(model, fake=self.graph == "fake")
        if isinstance(net, IntegerNet):
            self.updates.mark(net, self.everything)
        else:
            self.updates.mark_float(net)
        net.pintpot_kind = getattr(model, "pintpot_kind", None)
        return net


def integer_net(model: EfficientNetLite) -> IntegerNet:
    """The net in integers; no float copy of a weight is left."""
    layers: list[tuple[str, nn.Module, tuple[str, ...]]] = []
    found = list(folded(model))
    levels = {"": _levels(input_bound(model, found[0].bound), clipped=False)}
    with torch.no_grad():
        for layer in found:
            clipped = isinstance(layer, FoldedConv) and layer.clipped
            out = levels[layer.name] = _levels(layer.bound, clipped)
            if isinstance(layer, FoldedAdd):
                one, other = (levels[source] for source in layer.sources)
                layers.append((layer.name, IntegerAdd(one, other, out), layer.sources))
                continue
            geometry = Geometry(tuple(layer.weight.shape[2:]), layer.stride, layer.padding)  # type: ignore[arg-type]
            conv = IntegerConv(_kind(layer), layer.weight, layer.bias, geometry, levels[layer.source], out)
            layers.append((layer.name, conv, (layer.source,)))
    ends = levels[""], levels[found[-1].name]
    return IntegerNet(layers, ends, model.classifier, model.dropout.p, model.signal)


def _kind(layer: FoldedConv) -> Literal["pointwise", "depthwise", "dense"]:
    if layer.groups > 1:
        return "depthwise"
    return "pointwise" if tuple(layer.weight.shape[2:]) == (1, 1) else "dense"


def folded_net(model: EfficientNetLite, *, fake: bool) -> FoldedNet:
    """The same layers in float32, rounded to 8 bits on the way where ``fake``."""
    layers: list[tuple[str, nn.Module, tuple[str, ...]]] = []
    for layer in folded(model):
        if isinstance(layer, FoldedAdd):
            layers.append((layer.name, FoldedSum(_levels(layer.bound, False).scale, fake), layer.sources))
            continue
        scale = _levels(layer.bound, layer.clipped).scale
        made = FoldedLayer(
            layer.weight, layer.bias, layer.stride, layer.padding, layer.groups, layer.clipped, scale, fake
        )
        layers.append((layer.name, made, (layer.source,)))
    return FoldedNet(layers, model.classifier, model.dropout.p, model.signal)
