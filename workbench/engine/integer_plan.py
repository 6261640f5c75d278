"""What one training step of an integer net takes on a microcontroller: every buffer, its life and its place.

A microcontroller has no allocator: buffers lie at places planned beforehand. Maps, gradients of maps and saved slices
are int8, gradients of weights int32, the head float32. Sums of one output element live in registers, so no operator
needs workspace; the gradient of a map is computed twice, once for its largest entry and once to be written at 8 bits.
Trained tensors lie in SRAM, because flash cannot be rewritten step by step; frozen ones are read from flash.
``workbench.lens.arena_run`` performs a step inside exactly this arena; ``workbench.lens.microcontroller`` plans cases.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workbench.core.units import format_size
from workbench.nn.integer_layers import IntegerConv

if TYPE_CHECKING:
    from torch import nn

    from workbench.devices.model import Device
    from workbench.nn.integer_net import IntegerNet

INDEX = 2  #: bytes of a channel's number
#: Bytes of optimizer state for each trained number.
STATE = {"sgd": 0, "lars": 0, "momentum": 4, "adamw": 8}


@dataclass(frozen=True)
class Buffer:
    """Bytes that live from instruction ``start`` up to (not including) ``end``; ``offset`` is where in the arena."""

    label: str
    kind: str
    size: int
    start: int
    end: int = -1
    offset: int = 0


@dataclass(frozen=True)
class Line:
    """One line of the ledger, in bytes."""

    label: str
    kind: str
    size: int


@dataclass(frozen=True)
class StepPlan:
    """The plan of one step. ``arena`` is the block that holds all ``buffers``; ``resident`` lies beside it in SRAM for
    good; ``flash`` holds the shipped net. ``live`` are bytes of buffers at each of the ``instructions``."""

    buffers: tuple[Buffer, ...]
    instructions: tuple[str, ...]
    resident: tuple[Line, ...]
    flash: tuple[Line, ...]
    arena: int

    @property
    def live(self) -> tuple[int, ...]:
        return tuple(sum(b.size for b in self.at(i)) for i in range(len(self.instructions)))

    def gradients(self) -> tuple[int, ...]:
        """Of :attr:`live`, gradients of weights and biases."""
        kept = [[b.size for b in self.at(i) if b.kind == "gradient of a weight"] for i in range(len(self.instructions))]
        return tuple(map(sum, kept))

    def at(self, instruction: int) -> list[Buffer]:
        return [b for b in self.buffers if b.start <= instruction < b.end]

    @property
    def peak_instruction(self) -> int:
        live = self.live
        return max(range(len(live)), key=live.__getitem__)

    @property
    def sram(self) -> int:
        return self.arena + sum(line.size for line in self.resident)

    @property
    def flash_bytes(self) -> int:
        return sum(line.size for line in self.flash)

    def ledger(self) -> list[Line]:
        """SRAM line by line: what is resident, what is live at the peak, what placing costs; sums to ``sram``."""
        lines = [Line(b.label, b.kind, b.size) for b in self.at(self.peak_instruction)]
        rest = self.arena - sum(line.size for line in lines)
        return [*self.resident, *lines, Line("alignment and gaps of the arena", "gaps", rest)]

    def refusal(self, device: Device, budget: int | None = None) -> str | None:
        """Why the step cannot be had on ``device`` within ``budget`` bytes of SRAM; ``None`` when it fits."""
        room = min(device.budget, budget) if budget is not None else device.budget
        if self.sram > room:
            return f"needs {format_size(self.sram)} of SRAM, {format_size(self.sram - room)} more than there is"
        flash = sum(int(t.size.value or 0) for t in device.tiers if t.name == "flash")
        if flash and self.flash_bytes > flash:
            more = format_size(self.flash_bytes - flash)
            return f"needs {format_size(self.flash_bytes)} of flash, {more} more than there is"
        return None


def plan_net(net: IntegerNet, side: tuple[int, int], channels: int, batch: int, rule: str, early: bool) -> StepPlan:
    """The plan for inputs of ``side`` (height, width) and ``channels``; ``rule`` is one of :data:`STATE`."""
    build = _Builder(net, batch, early)
    build.forward(side, channels)
    build.head()
    build.backward()
    return build.placed(*_held(net, STATE[rule]))


@dataclass
class _Builder:
    """Walks through the step once and notes when each buffer begins and ends."""

    net: IntegerNet
    batch: int
    early: bool
    instructions: list[str] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    sides: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    _open: dict[str, int] = field(default_factory=dict)

    def _do(self, instruction: str) -> None:
        self.instructions.append(instruction)

    def _begin(self, label: str, kind: str, size: int) -> None:
        self._open[label] = len(self.buffers)
        self.buffers.append(Buffer(label, kind, size, len(self.instructions) - 1))

    def _end(self, label: str) -> None:
        """The current instruction is the last that reads it."""
        index = self._open.pop(label)
        self.buffers[index] = replace(self.buffers[index], end=len(self.instructions))

    def _map(self, value: int) -> int:
        height, width, channels = self.sides[value]
        return self.batch * height * width * channels

    def forward(self, side: tuple[int, int], channels: int) -> None:
        kept = {operation.name for operation in self.net.path()}
        self.sides[0] = (*side, channels)
        self._do("read the input")
        self._begin("map 0", "map", self._map(0))
        for operation in self.net.program:
            layer = self.net.layers[operation.name]
            height, width, _ = self.sides[operation.inputs[0]]
            if isinstance(layer, IntegerConv):
                self.sides[operation.output] = (*layer.geometry.outputs(height, width), layer.outputs)
            else:
                self.sides[operation.output] = self.sides[operation.inputs[0]]
            self._do(f"forward {operation.name}")
            self._begin(f"map {operation.output}", "map", self._map(operation.output))
            if operation.name in kept:
                self._begin(f"bits {operation.name}", "bits", -(-self._map(operation.output) // 8))
                if isinstance(layer, IntegerConv) and (layer.trains_weight or layer.whole):
                    share = layer.inputs if layer.kept_channels is None else layer.kept_channels.shape[0]
                    self._begin(f"input of {operation.name}", "saved input", self.batch * height * width * share)
            for value in operation.last:
                self._end(f"map {value}")

    def head(self) -> None:
        last = self.net.program[-1].output
        width, classes = self.net.classifier.in_features, self.net.classifier.out_features
        self._do("mean of the last map")
        self._begin("features", "head", 4 * self.batch * width)
        self._end(f"map {last}")
        self._do("head, loss, and their gradients")
        self._begin("logits", "head", 4 * self.batch * classes)
        self._begin("gradient of the features", "head", 4 * self.batch * width)
        self._do("update the head")
        self._end("features")
        self._end("logits")

    def backward(self) -> None:
        path = self.net.path()
        visited = {operation.output for operation in path}
        if path:
            self._do("gradient of the last map")
            self._begin(f"gradient {path[-1].output}", "gradient of a map", self._map(path[-1].output))
            self._end("gradient of the features")
        else:
            self._end("gradient of the features")
        held: dict[int, str] = {path[-1].output: f"gradient {path[-1].output}"} if path else {}
        for operation in reversed(path):
            layer = self.net.layers[operation.name]
            own = held.pop(operation.output)
            wanted = [value for value in operation.inputs if value in visited]
            self._do(f"backward {operation.name}")
            if not isinstance(layer, IntegerConv):
                self._end(f"bits {operation.name}")
                for value in wanted:  # both inputs have one gradient, which lies where the sum's lay
                    held[value] = own
                if not wanted:
                    self._end(own)
                continue
            self._weight_gradients(operation.name, layer)
            for value in wanted:
                label = f"gradient {value} from {operation.name}"
                self._begin(label, "gradient of a map", self._map(value))
                if value in held:  # the residual path's share is added into the buffer just written
                    self._leave(held, held.pop(value), own)
                held[value] = label
            self._end(f"bits {operation.name}")
            if f"input of {operation.name}" in self._open:
                self._end(f"input of {operation.name}")
            self._leave(held, own, "")
        if not self.early:
            self._do("update everything")
            for label in [name for name in self._open if name.startswith("sums")]:
                self._end(label)

    def _leave(self, held: dict[int, str], label: str, own: str) -> None:
        """Ends a gradient that no other value still waits for."""
        if label not in held.values() and label != own and label in self._open:
            self._end(label)

    def _weight_gradients(self, name: str, layer: IntegerConv) -> None:
        labels = []
        if layer.trains_weight or layer.whole:
            width = layer.weight.shape[1]
            if layer.kept_channels is not None:
                columns = layer.columns()
                width = width if columns is None else columns.shape[0]
            self._begin(f"sums of {name}.weight", "gradient of a weight", 4 * layer.weight.shape[0] * width)
            labels.append(f"sums of {name}.weight")
        if layer.trains_bias or layer.whole:
            self._begin(f"sums of {name}.bias", "gradient of a weight", 4 * layer.outputs)
            labels.append(f"sums of {name}.bias")
        if self.early and labels:
            for label in labels:
                self._end(label)

    def placed(self, resident: list[Line], flash: list[Line]) -> StepPlan:
        import numpy as np

        from workbench.memory.placement import place

        end = len(self.instructions)
        buffers = [b if b.end >= 0 else replace(b, end=end) for b in self.buffers]
        sizes, starts, ends = (np.array([getattr(b, f) for b in buffers]) for f in ("size", "start", "end"))
        offsets, _ = place(sizes, starts, ends)
        buffers = [replace(b, offset=int(o)) for b, o in zip(buffers, offsets)]
        arena = max(b.offset + b.size for b in buffers)
        return StepPlan(tuple(buffers), tuple(self.instructions), tuple(resident), tuple(flash), arena)


def _held(net: IntegerNet, state: int) -> tuple[list[Line], list[Line]]:
    """What lies in SRAM for good, and what in flash.

    Flash holds all that ships: weights, biases, scales and multipliers, the factors of residual sums, a byte for each
    zero point, and the list of the channels that a trained slice keeps, at ``INDEX`` bytes each.
    """
    resident, flash = [], [Line("scales of input and features", "constants", 8)]
    for name, layer in net.layers.items():
        if not isinstance(layer, IntegerConv):
            flash.append(Line(name, "constants", _bytes(layer) + 3))
    for name, conv in net.convolutions:
        count = 0
        if conv.trains_weight:
            columns = conv.columns()
            width = conv.weight.shape[1] if columns is None else columns.shape[0]
            count += conv.weight.shape[0] * width
            resident.append(Line(f"{name}.weight, trained part", "trained weight", conv.weight.shape[0] * width))
        if conv.trains_bias:
            count += conv.outputs
            resident.append(Line(f"{name}.bias", "trained bias", 4 * conv.outputs))
        if state and count:
            resident.append(Line(f"{name}: state of the update rule", "optimizer state", state * count))
        flash.append(Line(name, "layer", _bytes(conv) + 2))
        if conv.kept_channels is not None:
            flash.append(Line(f"{name}: channels kept", "list of channels", INDEX * conv.kept_channels.shape[0]))
    numbers = sum(p.numel() for p in net.classifier.parameters())
    resident.append(Line("classifier", "trained head", (4 + state) * numbers))
    flash.append(Line("classifier", "head", 4 * numbers))
    return resident, flash


def _bytes(layer: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in layer.buffers(recurse=False))
