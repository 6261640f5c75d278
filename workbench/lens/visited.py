"""What a training step still visits, layer by layer: operator calls and operations of each phase, bytes kept.

The step runs once on fake tensors; nothing is trained. A frozen layer above the deepest trained tensor still passes
gradients through, a layer below it is not visited by the backward pass at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.errors import Incompatible
from workbench.core.names import plain
from workbench.core.profile import Tier
from workbench.core.spelling import parsed_way

if TYPE_CHECKING:
    from torch import nn

    from workbench.bench import Bench
    from workbench.case import Case
    from workbench.memory.whereabouts import Whereabouts


@dataclass(frozen=True)
class Visit:
    """One layer: operator calls (views left out) and operations by phase, bytes kept for backward, parameters."""

    layer: str
    forward_calls: int
    backward_calls: int
    forward_flops: int
    backward_flops: int
    saved: int
    parameters: int
    trained: int


@dataclass(frozen=True)
class Visits:
    """All layers of one way of tuning in the order in which the forward pass meets them."""

    way: str
    layers: tuple[Visit, ...]

    def total(self, quantity: str) -> int:
        """The sum of one of the quantities of :class:`Visit` over all layers."""
        return sum(getattr(layer, quantity) for layer in self.layers)


def visited(bench: Bench, ways: Sequence[str]) -> list[Visits]:
    """The visits of each way (a method with settings, as in ``lora r=8``) on the bench's task, model and shape."""
    found = []
    for way in dict.fromkeys(ways):
        method, settings = parsed_way(way)
        found.append(visits(bench.case(method, **settings), way))
    return found


def visits(case: Case, way: str = "") -> Visits:
    """Run one step of ``case`` on fake tensors and count. Raises ``Incompatible`` where it cannot be followed."""
    from workbench.memory.predict import trace

    reason = case.refusal()
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    shapes_only = not case.method.reads_weights
    build = lambda: case.attached(device="meta" if shapes_only else "cpu", weights=False)  # noqa: E731
    counted: list[_Counted] = []

    def step_of(model: nn.Module) -> Any:
        counted.append(_Counted(case.step(model)))
        return counted[-1]

    def tell(*call: Any) -> None:
        counted[-1].recorder.heard(*call)

    profile, _ = trace(build, step_of, case.example, tier=Tier.FAKE, tell=tell)
    return Visits(way or case.method_name, _layers(counted[-1], profile.saved_by_module))


class _Counted:
    """A training step whose latest call alone is what has been counted."""

    def __init__(self, step: Any) -> None:
        from workbench.memory.whereabouts import Whereabouts

        self._step = step
        self.recorder = _recorder(Whereabouts(step.model))

    def __call__(self, batches: Any) -> Any:
        self.recorder.reset()
        with ExitStack() as stack:
            stack.enter_context(self.recorder.told())
            stack.enter_context(self.recorder.where.watching())
            return self._step(batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def _recorder(where: Whereabouts) -> Any:
    """A recorder that adds up by module what the ordinary one adds up by signature."""
    from workbench.devices.flops import flop_registry
    from workbench.devices.record import Recorder, group_of

    class ByModule(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.where = where

        def reset(self) -> None:
            super().reset()
            self.visits: Counter[tuple[str, str]] = Counter()
            self.flops: Counter[tuple[str, str]] = Counter()
            self.order: dict[str, None] = {}

        def _saw(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
            phase = self._phase()
            if group_of(func, phase) == "view":
                return
            module = self.where.module(self.where.node())
            self.order.setdefault(module)
            self.visits[module, phase] += 1
            if (formula := flop_registry.get(func._overloadpacket)) is not None:
                self.flops[module, phase] += int(formula(*args, **kwargs, out_val=out))

    return ByModule()


def _layers(counted: _Counted, saved: Any) -> tuple[Visit, ...]:
    """Counts by module, added up by layer: a block of the model, else the module itself."""
    from workbench.models.structure import blocks

    model, recorder = counted._step.model, counted.recorder
    prefixes = [plain(name) for name, _ in blocks(model)]

    def layer_of(module: str) -> str:
        inside = (p for p in prefixes if module == p or module.startswith(p + "."))
        return next(inside, _beside(module, prefixes[0] if prefixes else ""))

    parameters, trained = _parameters(model, layer_of)
    sums: dict[str, Counter[str]] = {layer_of(m): Counter() for m in recorder.order}
    for (module, phase), count in recorder.visits.items():
        sums[layer_of(module)][f"{phase}_calls"] += count
        sums[layer_of(module)][f"{phase}_flops"] += recorder.flops[module, phase]
    for module, size in saved.items():
        sums.setdefault(layer_of(module), Counter())["saved"] += size
    names = ("forward_calls", "backward_calls", "forward_flops", "backward_flops", "saved")
    return tuple(
        Visit(layer, *(found[name] for name in names), parameters[layer], trained[layer])
        for layer, found in sums.items()
    )


def _beside(module: str, block: str) -> str:
    """A module that is in no block, by the part of its path that parts it from the blocks: all embeddings are one."""
    if not module:
        return "(outside any module)"
    parts, other = module.split("."), block.split(".")
    shared = next((i for i, (a, b) in enumerate(zip(parts, other)) if a != b), min(len(parts), len(other)))
    return ".".join(parts[: shared + 1])


def _parameters(model: nn.Module, layer_of: Any) -> tuple[Counter[str], Counter[str]]:
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        layer = layer_of(plain(name.rpartition(".")[0]))
        total[layer] += parameter.numel()
        trained[layer] += parameter.numel() if parameter.requires_grad else 0
    return total, trained
