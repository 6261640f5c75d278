"""Perform one training step inside the arena that was planned for it: the proof that the plan is right to the byte.

Every map, bit mask, saved slice and gradient is written to its planned place in one block of exactly ``plan.arena``
bytes and read back from there. A plan that let two of them overlap would change the numbers. What an operator needs
between reading and writing stands in for registers, and lies in ordinary tensors.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench.lens.microcontroller import Buffer, StepPlan
from workbench.nn import integer_arithmetic as integer
from workbench.nn.bit_masks import Bits
from workbench.nn.integer_arithmetic import Gradient
from workbench.nn.integer_layers import IntegerAdd, IntegerConv, Saved, WeightGradients
from workbench.nn.integer_net import IntegerNet

LossOf = Callable[[nn.Module, dict[str, Tensor]], Tensor]


class _Arena:
    """One block of memory, and tensors at the places of a plan in it."""

    def __init__(self, plan: StepPlan) -> None:
        self.memory = torch.zeros(plan.arena, dtype=torch.uint8)
        self.places: dict[str, Buffer] = {b.label: b for b in plan.buffers}
        self.shapes: dict[str, tuple[torch.Size, torch.dtype]] = {}
        self.scales: dict[str, Tensor] = {}
        self.outputs: dict[str, torch.Size] = {}

    def put(self, label: str, tensor: Tensor) -> None:
        place = self.places[label]
        raw = tensor.contiguous().view(-1).view(torch.uint8)
        if raw.numel() != place.size:
            raise AssertionError(f"{label}: {place.size} bytes were planned, {raw.numel()} are needed")
        self.memory[place.offset : place.offset + place.size].copy_(raw)
        self.shapes[label] = tensor.shape, tensor.dtype

    def get(self, label: str) -> Tensor:
        place, (shape, dtype) = self.places[label], self.shapes[label]
        return self.memory[place.offset : place.offset + place.size].clone().view(dtype).view(shape)

    def put_gradient(self, label: str, gradient: Gradient) -> None:
        self.put(label, gradient.values)
        self.scales[label] = gradient.scale

    def get_gradient(self, label: str) -> Gradient:
        return Gradient(self.get(label), self.scales[label])


@torch.no_grad()
def run_in_arena(
    net: IntegerNet, plan: StepPlan, batch: dict[str, Tensor], loss_of: LossOf
) -> dict[str, WeightGradients]:
    """Integer gradients by layer of one step on ``batch``, computed in the arena; nothing is updated."""
    arena = _Arena(plan)
    last = _forward(net, arena, batch["pixel_values"])
    features = _features(net, arena, last)
    with torch.enable_grad():
        leaf = features.clone().requires_grad_()
        loss = loss_of(_Head(net, leaf), batch)
        gradient = torch.autograd.grad(loss, leaf)[0]
    arena.put("gradient of the features", gradient)
    return _backward(net, arena, last)


class _Head(nn.Module):
    """The head as a model, over features that are given."""

    def __init__(self, net: IntegerNet, features: Tensor) -> None:
        super().__init__()
        self.classifier, self.features = net.classifier, features

    def forward(self, pixel_values: Tensor) -> object:
        from transformers.modeling_outputs import ImageClassifierOutput

        return ImageClassifierOutput(logits=self.classifier(self.features))


def _forward(net: IntegerNet, arena: _Arena, pixel_values: Tensor) -> int:
    arena.put("map 0", net.quantized(pixel_values))
    kept = {operation.name for operation in net.path()}
    for operation in net.program:
        layer = net.layers[operation.name]
        inputs = [arena.get(f"map {value}") for value in operation.inputs]
        made, saved = layer(*inputs, keep=operation.name in kept)
        arena.put(f"map {operation.output}", made)
        arena.outputs[operation.name] = made.shape
        if saved is not None:
            arena.put(f"bits {operation.name}", saved.blocked.packed)
            if saved.x is not None:
                arena.put(f"input of {operation.name}", saved.x)
    return net.program[-1].output


def _features(net: IntegerNet, arena: _Arena, last: int) -> Tensor:
    found = arena.get(f"map {last}")
    count = found.shape[1] * found.shape[2]
    sums = found.sum((1, 2), dtype=torch.int32).sub_(count * net.feature_zero)
    arena.put("features", sums.float().mul_(net.feature_scale / count))
    return arena.get("features")


def _backward(net: IntegerNet, arena: _Arena, last: int) -> dict[str, WeightGradients]:
    path = net.path()
    if not path:
        return {}
    visited = {operation.output for operation in path}
    shape, _ = arena.shapes[f"map {last}"]
    mean = integer.first(arena.get("gradient of the features") / (shape[1] * shape[2]))
    spread = mean.values[:, None, None, :].expand(shape)
    arena.put_gradient(f"gradient {last}", Gradient(spread, mean.scale))
    held = {last: f"gradient {last}"}
    found: dict[str, WeightGradients] = {}
    for operation in reversed(path):
        layer, label = net.layers[operation.name], held.pop(operation.output)
        wanted = [value for value in operation.inputs if value in visited]
        gradient, saved = arena.get_gradient(label), _saved(arena, operation.name, operation.inputs[0])
        if isinstance(layer, IntegerAdd):
            below = layer.backward(gradient, saved)
            arena.put_gradient(label, below)
            held |= dict.fromkeys(wanted, label)
            continue
        assert isinstance(layer, IntegerConv)
        sums, further = layer.backward(gradient, saved, bool(wanted))
        found[operation.name] = _through(arena, operation.name, sums)
        for value in wanted:
            assert further is not None
            own = f"gradient {value} from {operation.name}"
            total = integer.added(arena.get_gradient(held[value]), further) if value in held else further
            arena.put_gradient(own, total)
            held[value] = own
    return found


def _saved(arena: _Arena, name: str, value: int) -> Saved:
    """What the forward pass left for one layer, read from the arena."""
    input_shape = arena.shapes[f"map {value}"][0]
    packed = arena.get(f"bits {name}")
    out = arena.outputs[name]
    x = arena.get(f"input of {name}") if f"input of {name}" in arena.shapes else None
    return Saved(x, Bits(packed, tuple(out), _dense(out)), input_shape[1], input_shape[2])


def _dense(shape: torch.Size) -> tuple[int, ...]:
    return torch.empty(shape, device="meta").stride()


def _through(arena: _Arena, name: str, sums: WeightGradients) -> WeightGradients:
    """The gradients as they come out of their places in the arena."""
    parts: dict[str, Tensor | None] = {"weight": sums.weight, "bias": sums.bias}
    for leaf, part in parts.items():
        if part is not None:
            arena.put(f"sums of {name}.{leaf}", part)
    for leaf, part in parts.items():
        parts[leaf] = None if part is None else arena.get(f"sums of {name}.{leaf}")
    return WeightGradients(parts["weight"], parts["bias"], sums.scale)
