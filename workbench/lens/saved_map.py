"""What a step keeps between forward and backward, for every combination of what trains, is recomputed, is packed.

Each combination is a case of its own and its step is run on fake tensors, so nothing here is put together from parts
or from a formula: what packing leaves of a recomputed block is what the tracker saw of that very step.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput, Incompatible, UnknownName
from workbench.core.profile import Category, Tier
from workbench.core.spelling import parsed_way
from workbench.keys import COUNTING, Kind

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.case import Case
    from workbench.memory.events import EventLog

#: Kinds of kept tensors by the operator that made their storage; any other operator is of the last kind.
KINDS: Mapping[str, tuple[str, ...]] = {
    "products and convolutions": (
        "addmm", "mm", "bmm", "baddbmm", "convolution", "linear", "extra_product", "_scaled_dot_product",
    ),
    "norms": ("native_layer_norm", "native_batch_norm", "native_group_norm", "_fused_rms_norm", "rsqrt"),
    "activations and softmax": (
        "gelu", "silu", "relu", "hardtanh", "clamp", "hardswish", "sigmoid", "tanh", "elu", "_safe_softmax",
        "_softmax", "_log_softmax",
    ),
    "sums and scalings": ("add", "mul", "sub", "div", "mean", "pow", "neg"),
    "copies and masks": ("clone", "empty_like", "constant_pad_nd", "masked_fill", "bernoulli", "cat"),
    "packed or cast": ("empty", "maximum", "_to_copy"),
    "other": (),
}  # fmt: skip

#: What a step holds beside it.
_KIND = Kind("kept for backward, by module and kind, and what stands beside it", (*COUNTING, "lens/saved_map.py"))
BESIDE = (Category.WEIGHTS, Category.GRADIENTS, Category.OPTIMIZER)

#: Levers that the map varies where nothing else is asked for, each with the values it takes.
FOR_TRANSFORMERS: Mapping[str, tuple[Any, ...]] = {"recompute": (0, 2, 1), "saved": ("as-is", "bf16", "int8")}
FOR_CONVOLUTIONS: Mapping[str, tuple[Any, ...]] = {
    "lean_frozen": (False, True),
    "bit_masks": (False, True),
    "saved": ("as-is", "int8"),
}


@dataclass(frozen=True)
class Kept:
    """One combination. ``kept`` is bytes by module and kind, each storage once, at the end of the forward pass.

    ``gradients`` is bytes of gradients by module; ``beside`` holds weights, gradients and optimizer state, each at
    its highest. ``flops`` are the operations of the whole step. A combination that cannot be has a ``reason`` alone.
    """

    choice: tuple[int, ...]
    kept: Mapping[tuple[str, str], int]
    gradients: Mapping[str, int]
    beside: Mapping[str, int]
    flops: int
    reason: str = ""

    @property
    def total(self) -> int:
        """Bytes kept for backward."""
        return sum(self.kept.values())


@dataclass(frozen=True)
class SavedMap:
    """All combinations of ``ways`` and of the values of each lever, the last lever turning fastest.

    ``defaults`` is the value of each lever where nobody sets it.
    """

    bench: Bench
    ways: tuple[str, ...]
    levers: tuple[tuple[str, tuple[Any, ...]], ...]
    states: tuple[Kept, ...]
    defaults: Mapping[str, Any]
    kinds: tuple[str, ...] = tuple(KINDS)

    def state(self, way: str, **settings: Any) -> Kept:
        """One combination; a lever that is not named has its first value. Raises ``UnknownName``."""
        names = dict(self.levers)
        for name in settings:
            if name not in names:
                raise UnknownName("lever", name, names)
        place = 0
        for name, values in (("way", self.ways), *self.levers):
            value = way if name == "way" else settings.get(name, values[0])
            if value not in values:
                raise UnknownName(name, str(value), [str(v) for v in values])
            place = place * len(values) + values.index(value)
        return self.states[place]


def saved_map(
    bench: Bench,
    ways: Sequence[str] = (),
    vary: Mapping[str, Sequence[Any]] | None = None,
    *,
    observe: Callable[[int, int], None] | None = None,
) -> SavedMap:
    """Trace every combination of ``ways`` (methods with settings, as in ``lora r=8``) and of lever values in ``vary``.

    Without ``ways``: all, half and one of the blocks, biases, adapters and the head, as far as they serve the model.
    ``observe`` is told how many of how many are done. Combinations are kept in the cache like predictions. Raises
    what a case raises for unknown names and values, ``BadInput`` for a lever without values.
    """
    ways = tuple(dict.fromkeys(ways)) or usual_ways(bench)
    levers = tuple((name, tuple(values)) for name, values in (usual_levers(bench) if vary is None else vary).items())
    defaults = _defaults(dict(levers))
    axes = [ways, *(values for _, values in levers)]
    choices = list(itertools.product(*(range(len(values)) for values in axes)))
    states = []
    for done, choice in enumerate(choices, 1):
        method, settings = parsed_way(ways[choice[0]])
        chosen = {name: values[i] for (name, values), i in zip(levers, choice[1:])}
        states.append(_state(bench, method, {**settings, **chosen}, choice))
        if observe is not None:
            observe(done, len(choices))
    return SavedMap(bench, ways, levers, tuple(states), defaults)


def usual_ways(bench: Bench) -> tuple[str, ...]:
    """All, the deeper half of the blocks, the last one, biases, adapters, the head: those that serve the model."""
    from workbench.models.structure import blocks

    half = max(1, len(blocks(bench.case("full").attached(device="meta", weights=False))) // 2)
    wished = ("full", f"last-blocks blocks={half}", "last-blocks blocks=1", "bias", "lora", "head")
    return tuple(way for way in dict.fromkeys(wished) if bench.case(parsed_way(way)[0]).refusal() is None)


def usual_levers(bench: Bench) -> Mapping[str, tuple[Any, ...]]:
    """Recomputing and packing where blocks can be recomputed, else leaner convolutions, bit masks and packing."""
    return FOR_CONVOLUTIONS if bench.case("full", recompute=1).refusal() else FOR_TRANSFORMERS


def _defaults(levers: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    from workbench.methods._levers import Levers

    fields = Levers.model_fields
    for name, values in levers.items():
        if name not in fields:
            raise UnknownName("lever", name, fields)
        if not values:
            raise BadInput("vary", f"{name}=", "at least one value for each lever")
    return {name: fields[name].default for name in levers}


def _state(bench: Bench, method: str, settings: Mapping[str, Any], choice: tuple[int, ...]) -> Kept:
    from workbench.predictions import kept

    case = bench.case(method, **settings)
    reason = case.refusal()
    if reason is None:
        try:
            found = kept(case, _KIND, lambda: _traced(case))
            return Kept(
                choice,
                {(module, kind): size for module, kind, size in found["kept"]},
                found["gradients"],
                found["beside"],
                found["flops"],
            )
        except Incompatible as error:
            reason = error.reason
    return Kept(choice, {}, {}, {}, 0, reason)


def _traced(case: Case) -> dict[str, Any]:
    from workbench.devices.work import work_of
    from workbench.predictions import traced

    trace = traced(case, Tier.FAKE)
    return {
        "kept": [[module, kind, size] for (module, kind), size in kept_of(trace.log).items()],
        "gradients": _gradients(trace.log),
        "beside": {str(category): size for category, size in highest_of(trace.log).items()},
        "flops": work_of(trace.recorder).total_flops,
    }


def kept_of(log: EventLog) -> Counter[tuple[str, str]]:
    """Bytes by module and kind when the forward pass has kept most; what backward makes again is not among them."""
    from workbench.memory.events import Kind

    live: set[int] = set()
    size = highest = 0
    most: set[int] = set()
    for event in log.events:
        if event.kind is Kind.INSIDE:
            continue
        allocation = log.allocations[event.storage]
        if allocation.category is not Category.SAVED or allocation.recomputed:
            continue
        if event.kind is Kind.ALLOCATED:
            live.add(event.storage)
            size += allocation.size
        else:
            live.discard(event.storage)
            size -= allocation.size
        if size > highest:
            highest, most = size, set(live)
    found: Counter[tuple[str, str]] = Counter()
    for allocation in (log.allocations[index] for index in most):
        found[allocation.module, kind_of(allocation.operator)] += allocation.size
    return found


def highest_of(log: EventLog) -> dict[Category, int]:
    """Most bytes of weights, of gradients and of optimizer state, each at a moment of its own."""
    from workbench.memory.events import Kind, categories_of

    live = categories_of(log, log.baseline)
    highest = {category: live[category] for category in BESIDE}
    for event in log.events:
        if event.kind is Kind.INSIDE:
            continue
        allocation = log.allocations[event.storage]
        if allocation.category in highest:
            live[allocation.category] += allocation.size if event.kind is Kind.ALLOCATED else -allocation.size
            highest[allocation.category] = max(highest[allocation.category], live[allocation.category])
    return highest


def kind_of(operator: str) -> str:
    """The kind of a kept tensor by the operator that made it, as in ``add.Tensor``.

    >>> kind_of("native_layer_norm"), kind_of("add_.Tensor"), kind_of("nll_loss_forward")
    ('norms', 'sums and scalings', 'other')
    """
    name = operator.rpartition("::")[2].partition(".")[0]
    attention = name.startswith("_scaled_dot_product")
    name = "_scaled_dot_product" if attention else name.removesuffix("_")
    return next((kind for kind, operators in KINDS.items() if name in operators), "other")


def _gradients(log: EventLog) -> dict[str, int]:
    found: Counter[str] = Counter()
    own = {event.storage for event in log.events if event.kind.name == "ALLOCATED"}
    for index in own:
        allocation = log.allocations[index]
        if allocation.category is Category.GRADIENTS:
            found[allocation.module] += allocation.size
    return dict(found)
