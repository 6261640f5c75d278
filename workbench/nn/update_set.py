"""Which tensors of a convolutional net train: the last biases, and slices of input channels of some weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from workbench.core.errors import BadInput
from workbench.nn.folded_net import FoldedNet
from workbench.nn.integer_layers import IntegerConv
from workbench.nn.integer_net import IntegerNet


@dataclass(frozen=True)
class UpdateSet:
    """Biases of the last ``biases`` convolutions (more than there are: all), and of convolution ``i`` the share
    ``weights[i]`` of its input channels, those of largest norm. Negative numbers count from the end; the float head
    always trains."""

    biases: int = 0
    weights: Mapping[int, Fraction] = field(default_factory=dict)
    all_weights: bool = False  #: every weight whole, whatever ``weights`` says

    def text(self) -> str:
        """The value of the method's setting ``update``."""
        return "all" if self.all_weights else ",".join(f"{i}:{share}" for i, share in sorted(self.weights.items()))

    def places(self, names: list[str]) -> dict[str, Fraction]:
        """Shares by name of convolution. Raises ``BadInput`` for a number that no convolution has."""
        if self.all_weights:
            return dict.fromkeys(names, Fraction(1))
        found = {}
        for index, share in self.weights.items():
            if not -len(names) <= index < len(names):
                allowed = f"numbers of convolutions from {-len(names)} to {len(names) - 1} for this model"
                raise BadInput("int8-training.update", index, allowed)
            found[names[index]] = share
        return found

    def mark(self, net: IntegerNet, everything: bool = False) -> None:
        """Say in each layer what trains, and give it the handles through which update rules act on it."""
        named = net.convolutions
        shares = self.places([name for name, _ in named])
        for place, (name, conv) in enumerate(named):
            conv.trains_bias = place >= len(named) - self.biases
            conv.trains_weight = name in shares
            conv.whole, conv.channels = everything, None
            count = max(1, round(shares.get(name, 1) * conv.inputs))
            if conv.trains_weight and count < conv.inputs:
                conv.channels = conv.strongest(count)
            if conv.trains_bias:
                conv.bias_handle = handle(conv.bias.shape, conv)
            if conv.trains_weight:
                columns = conv.columns()
                width = conv.weight.shape[1] if columns is None else columns.shape[0]
                conv.weight_handle = handle((conv.weight.shape[0], width), conv)
        for parameter in net.classifier.parameters():
            parameter.requires_grad_(True)

    def mark_float(self, net: FoldedNet) -> None:
        """The same tensors of the float net, weights whole."""
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        named = net.convolutions
        shares = self.places([name for name, _ in named])
        if any(share < 1 for share in shares.values()):
            raise BadInput("int8-training.update", self.text(), "whole weights (1) where graph is not int8")
        for place, (name, conv) in enumerate(named):
            assert conv.bias is not None
            conv.bias.requires_grad_(place >= len(named) - self.biases)
            conv.weight.requires_grad_(name in shares)
        for parameter in net.classifier.parameters():
            parameter.requires_grad_(True)


def handle(shape: Any, conv: IntegerConv) -> nn.Parameter:
    """What an update rule holds in place of an integer tensor: without a byte but while it is being updated."""
    made = nn.Parameter(torch.empty(0, device=conv.weight.device))
    made.stands_for = torch.Size(shape).numel()  # type: ignore[attr-defined]
    return made
