"""Backpropagation through an integer net, with gradients scaled to what the integers stand for (QAS).

Quantization-aware scaling, "On-Device Training Under 256KB Memory" (Lin et al., 2022): a weight is s times its
integers, so the integers' gradient is s times the weight's, and the ratio of norms of integers and gradient is s^-2 too
large. Multiplied by s^-2 (for a bias by its own scale's) plain descent on the integers is plain descent on the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.attribution import made_gradient
from workbench.core.errors import Incompatible
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.nn.integer_layers import IntegerConv, WeightGradients
from workbench.nn.integer_net import IntegerNet
from workbench.parts.base import Step

WEIGHT_LIMIT, BIAS_LIMIT = 127, 2**31 - 1


@dataclass(frozen=True)
class IntegerBackprop:
    """``early``: each update right after its gradient, which is then dropped; else all gradients wait for the end.

    ``stochastic``: an update that is no whole number is rounded up with the probability of its fraction. Rounding to
    the nearest loses every step shorter than one half.
    """

    uses_backward: ClassVar[bool] = True

    qas: bool = True
    stochastic: bool = True
    early: bool = True

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change."""

    def step(self, step: Step) -> Tensor:
        net = step.model
        assert isinstance(net, IntegerNet)
        if len(step.batches) > 1:
            raise Incompatible("accumulate", len(step.batches), "updates in place drop each gradient at once")
        with in_phase(Phase.FORWARD):
            loss = next(step.losses())
        waiting: list[tuple[IntegerConv, WeightGradients]] = []
        names = {id(conv): f"layers.{name}" for name, conv in net.convolutions}

        def sink(conv: IntegerConv, found: WeightGradients) -> None:
            for gradient in (found.weight, found.bias):
                if gradient is not None:
                    made_gradient(gradient, names[id(conv)])
            if self.early:
                with in_phase(Phase.UPDATE):
                    self._update(step, conv, found)
            else:
                waiting.append((conv, found))

        with in_phase(Phase.BACKWARD):
            loss.backward()
            value = loss.detach()
            del loss
            if self.early:
                self._update_head(step, net)
            net.backward(sink)
        with in_phase(Phase.UPDATE):
            if not self.early:
                self._update_head(step, net)
            for conv, found in waiting:
                self._update(step, conv, found)
        return value

    def _update_head(self, step: Step, net: IntegerNet) -> None:
        with in_phase(Phase.UPDATE):
            for parameter in net.classifier.parameters():
                step.update_one(parameter)

    @torch.no_grad()
    def _update(self, step: Step, conv: IntegerConv, found: WeightGradients) -> None:
        if conv.trains_weight and found.weight is not None:
            columns = conv.columns()
            sums = found.weight
            if columns is not None and sums.shape[1] != columns.shape[0]:
                sums = sums.index_select(1, columns)  # all were computed, and most are thrown away here
            own = conv.real_weight_scale(columns)
            gradient = sums.float().mul_(found.scale * conv.scale_in)
            gradient = gradient.div_(own) if self.qas else gradient.mul_(own)
            part = conv.weight if columns is None else conv.weight.index_select(1, columns)
            moved = self._moved(step, conv.weight_handle, part, gradient, WEIGHT_LIMIT)
            if columns is None:
                conv.weight.copy_(moved)
            else:
                conv.weight.index_copy_(1, columns, moved.to(torch.int8))
        if conv.trains_bias and found.bias is not None:
            scale = conv.scale_w * conv.scale_in
            gradient = found.bias.float().mul_(found.scale)
            gradient = gradient.div_(scale) if self.qas else gradient.mul_(scale)
            conv.bias.copy_(self._moved(step, conv.bias_handle, conv.bias, gradient, BIAS_LIMIT))

    def _moved(self, step: Step, handle: nn.Parameter, integers: Tensor, gradient: Tensor, limit: int) -> Tensor:
        """The integers after the update rule has acted on them and the result is whole again, as int64."""
        handle.data = integers.float()
        handle.grad = gradient
        step.update_one(handle)
        change = handle.data.sub_(integers)
        handle.data = torch.empty(0)
        change = change.add_(torch.rand_like(change)).floor_() if self.stochastic else change.round_()
        return change.to(torch.int64).add_(integers).clamp_(-limit, limit)
