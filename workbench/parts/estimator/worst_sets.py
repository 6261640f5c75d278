"""Which sets of layers, of one size, need most memory when they train: what changing sets must have room for.

While the backward pass runs, a layer it has not reached costs what it keeps of its input, one it has passed costs its
gradient; blocks not reached also hold what they keep whatever trains. For the moment at each block's border the worst
set is the one of the largest costs, and the worst moments are those where cost and what is held sum up highest. With
several micro-batches gradients are there from the second forward pass on, so a layer not reached then costs both.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from workbench.core.phase import in_phase, seldom
from workbench.core.profile import Phase
from workbench.models.structure import blocks
from workbench.nn.lean_transformer import ByteLinear, PrunedLayerNorm
from workbench.parts.base import Step

MOST = 2  #: sets tried beside the one of the largest gradients, which the update needs room for


@dataclass(frozen=True)
class Cost:
    """Bytes that training a layer adds: its gradient, and what is kept of its input, once for all that ``share`` it."""

    gradient: int
    kept: int
    share: int


def worst_sets(step: Step, names: Sequence[str], count: int) -> list[list[str]]:
    """A few sets of ``count`` layers, the one of the largest gradients first; see the module.

    Runs two forward passes on the first batch, neither of which needs more than a step does.
    """
    costs = list(_costs(step, names))
    held = list(itertools.accumulate(_held(step, names), initial=0))
    starts = [f"{name}." for name, _ in blocks(step.model)]
    borders = [next((i for i, n in enumerate(names) if n.startswith(s)), 0) for s in starts]
    found: list[tuple[int, list[str]]] = []
    for moment, border in enumerate([0, *borders[1:], len(names)]):
        places, total = _largest(costs, count, border, gradients=len(step.batches) > 1)
        found.append((total + (held[moment] if moment else 0), [names[i] for i in places]))
    worst = [found[0][1]]
    for _, chosen in sorted(found, key=lambda one: -one[0]):
        if chosen not in worst and len(worst) <= MOST:
            worst.append(chosen)
    return worst


def _largest(costs: Sequence[Cost], count: int, border: float, gradients: bool) -> tuple[list[int], int]:
    """Places and sum of the ``count`` layers of largest cost when the backward pass has come down to ``border``.

    An input that several layers read is counted with the first. ``gradients``: every layer costs its gradient already.
    """
    seen: set[int] = set()
    worth = []
    for place, cost in enumerate(costs):
        to_come = place < border
        size = cost.gradient if gradients or not to_come else 0
        if to_come and cost.share not in seen:
            seen.add(cost.share)
            size += cost.kept
        worth.append((size, cost.gradient))
    chosen = sorted(range(len(costs)), key=lambda i: worth[i], reverse=True)[:count]
    return sorted(chosen), sum(worth[i][0] for i in chosen)


def _costs(step: Step, names: Sequence[str]) -> Iterator[Cost]:
    """The cost of each layer, from a forward pass that keeps nothing."""
    model = step.model
    tensors = dict(model.named_parameters())
    owners = {name: model.get_submodule(name.rpartition(".")[0]) for name in names}
    inputs = _inputs(step, {id(m): m for m in owners.values()}.values())
    for name, owner in owners.items():
        size, share, width = inputs.get(id(owner), (0, 0, 4))
        yield Cost(tensors[name].nbytes, _kept(owner, size, width), share)


def _inputs(step: Step, modules: Iterable[nn.Module]) -> dict[int, tuple[int, int, int]]:
    """Bytes, number and bytes an element of what each module is given; one tensor has one number."""
    found: dict[int, tuple[int, int, int]] = {}
    numbers: dict[int, tuple[weakref.ref[Tensor], int]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs and inputs[0].is_floating_point():
            x = inputs[0]
            if id(x) not in numbers or numbers[id(x)][0]() is not x:
                numbers[id(x)] = weakref.ref(x), len(found) + 1
            found[id(module)] = (x.nbytes, numbers[id(x)][1], x.element_size())

    handles = [m.register_forward_pre_hook(note) for m in modules]
    try:
        with seldom(), in_phase(Phase.FORWARD), torch.no_grad(), torch.random.fork_rng(devices=[]):
            next(step.losses())
    finally:
        for handle in handles:
            handle.remove()
    return found


def _kept(module: nn.Module, size: int, width: int) -> int:
    """Bytes of its input that a layer keeps because it trains."""
    if isinstance(module, ByteLinear):
        return size // width
    if isinstance(module, PrunedLayerNorm):  # frozen it keeps its largest values, and where they stood
        return round(size - module.keep * (size + 4 * size // width))
    return size if isinstance(module, nn.Linear | nn.Conv2d) else 0


def _held(step: Step, names: Sequence[str]) -> list[int]:
    """Bytes that each block keeps for backward while none of these layers trains."""
    model = step.model
    places = {id(block): i for i, (_, block) in enumerate(blocks(model))}
    own = {t.untyped_storage()._cdata for t in itertools.chain(model.parameters(), model.buffers())}
    sizes: list[dict[int, int]] = [{} for _ in places]
    now = [0]

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[now[0]].setdefault(storage._cdata, storage.nbytes())
        return tensor.detach()  # an output given back as it is would hold its own graph, and nothing would end that

    def enter(block: nn.Module, _: object) -> None:
        now[0] = places[id(block)]

    handles = [block.register_forward_pre_hook(enter) for _, block in blocks(model)]
    frozen = [p for n, p in model.named_parameters() if n in set(names)]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        apart = torch.random.fork_rng(devices=[])
        with seldom(), in_phase(Phase.FORWARD), apart, saved_tensors_hooks(note, lambda tensor: tensor):
            next(step.losses())
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for handle in handles:
            handle.remove()
    return [sum(found.values()) for found in sizes]
