"""A whole net of integer layers as a list of operations: forward, and backward with each update at its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

from workbench.core.attribution import at
from workbench.nn import integer_arithmetic as integer
from workbench.nn.integer_arithmetic import Gradient
from workbench.nn.integer_layers import IntegerAdd, IntegerConv, Levels, Saved, WeightGradients

#: Called with a layer and its integer gradients as soon as they are there; what it does with them is an update.
Sink = Callable[[IntegerConv, WeightGradients], None]


@dataclass(frozen=True)
class Operation:
    """One layer of the program: values are numbered, 0 is the input; ``last`` are those nobody reads afterwards."""

    name: str
    inputs: tuple[int, ...]
    output: int
    last: tuple[int, ...]


class Trace:
    """What one forward pass left for its backward pass."""

    def __init__(self) -> None:
        self.saved: dict[str, Saved] = {}
        self.features: Tensor | None = None
        self.side: tuple[int, int] = (1, 1)


class IntegerNet(nn.Module):
    """An integer body, a mean over each map, and a float head on the dequantized means.

    ``layers`` are named modules in forward order, each with the names of the layers it reads (the empty name is the
    input). ``signal`` says that inputs are (batch, channels, samples), a map of height 1.
    """

    is_gradient_checkpointing = False

    def __init__(
        self, layers: Sequence[tuple[str, nn.Module, tuple[str, ...]]], levels: tuple[Levels, Levels],
        classifier: nn.Linear, dropout: float, signal: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleDict({name: module for name, module, _ in layers})
        self.program = _program(layers)
        self.register_buffer("input_scale", levels[0].scale.clone())
        self.register_buffer("feature_scale", levels[1].scale.clone())
        self.feature_zero, self.signal = levels[1].zero, signal
        self.dropout, self.classifier = nn.Dropout(dropout), classifier
        self.trace: Trace | None = None

    input_scale: Tensor
    feature_scale: Tensor

    @property
    def convolutions(self) -> list[tuple[str, IntegerConv]]:
        """In forward order."""
        return [(name, m) for name, m in self.layers.items() if isinstance(m, IntegerConv)]

    def path(self) -> list[Operation]:
        """Operations that the backward pass visits, in forward order: those above the deepest one that trains."""
        moved: set[int] = set()
        found = []
        for operation in self.program:
            layer = self.layers[operation.name]
            own = isinstance(layer, IntegerConv) and layer.on_path
            if own or moved.intersection(operation.inputs):
                moved.add(operation.output)
                found.append(operation)
        return found

    def quantized(self, pixel_values: Tensor) -> Tensor:
        """The batch (batch, channels, ...) as an int8 map with its channels last."""
        x = pixel_values.unsqueeze(2) if self.signal else pixel_values
        levels = (x / self.input_scale).round_().clamp_(integer.LOW, integer.HIGH)
        return levels.to(torch.int8).permute(0, 2, 3, 1).contiguous()

    def body(self, x: Tensor, trace: Trace | None = None) -> Tensor:
        """The last int8 map; each map is dropped when nobody will read it."""
        kept = {operation.name for operation in self.path()} if trace is not None else set()
        values = {0: x}
        del x
        for operation in self.program:
            inputs = [values[i] for i in operation.inputs]
            for i in operation.last:
                del values[i]
            made, saved = self.layers[operation.name](*inputs, keep=operation.name in kept)
            del inputs
            values[operation.output] = made
            del made
            if trace is not None and saved is not None:
                trace.saved[operation.name] = saved
        return values.popitem()[1]

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **unused: Any) -> ImageClassifierOutput:
        """Logits (batch, classes). In training it leaves a :class:`Trace` for :meth:`backward`."""
        training = torch.is_grad_enabled() and self.training
        trace = Trace() if training else None
        with torch.no_grad():
            last = self.body(self.quantized(pixel_values), trace)
            count = last.shape[1] * last.shape[2]
            sums = last.sum((1, 2), dtype=torch.int32).sub_(count * self.feature_zero)
            features = sums.float().mul_(self.feature_scale / count)
        if trace is not None:
            trace.side, trace.features = (last.shape[1], last.shape[2]), features.requires_grad_()
            self.trace = trace
        del last
        logits = self.classifier(self.dropout(features))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def backward(self, sink: Sink) -> None:
        """From the gradient at the features down the path; consumes the trace."""
        trace, self.trace = self.trace, None
        if trace is None or trace.features is None or trace.features.grad is None:
            raise RuntimeError("no forward pass in training, or no gradient at its features")
        path = self.path()
        if not path:
            return
        height, width = trace.side
        mean = integer.first(trace.features.grad / (height * width))
        trace.features = None
        spread = mean.values[:, None, None, :].expand(-1, height, width, -1)
        pending = {path[-1].output: Gradient(spread, mean.scale)}
        del mean, spread
        visited = {operation.output for operation in path}
        while path:
            operation = path.pop()
            at(None, f"layers.{operation.name}")
            self._back(operation, pending, visited, trace.saved.pop(operation.name), sink)
        at(None, None)

    def _back(
        self, operation: Operation, pending: dict[int, Gradient], visited: set[int], saved: Saved, sink: Sink
    ) -> None:
        layer = self.layers[operation.name]
        gradient = pending.pop(operation.output)
        wanted = [i for i in operation.inputs if i in visited]
        if isinstance(layer, IntegerAdd):
            below: Gradient | None = layer.backward(gradient, saved)
        else:
            assert isinstance(layer, IntegerConv)
            found, below = layer.backward(gradient, saved, bool(wanted))
            del saved, gradient
            if found.weight is not None or found.bias is not None:
                sink(layer, found)
        for value in wanted:
            assert below is not None
            pending[value] = integer.added(pending.pop(value), below) if value in pending else below


def _program(layers: Sequence[tuple[str, nn.Module, tuple[str, ...]]]) -> list[Operation]:
    numbers = {"": 0, **{name: i + 1 for i, (name, _, _) in enumerate(layers)}}
    read: dict[int, str] = {}
    for name, _, sources in layers:
        for source in sources:
            read[numbers[source]] = name
    found = []
    for name, _, sources in layers:
        inputs = tuple(numbers[source] for source in sources)
        found.append(Operation(name, inputs, numbers[name], tuple(dict.fromkeys(i for i in inputs if read[i] == name))))
    return found
