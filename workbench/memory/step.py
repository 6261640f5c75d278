"""What the instrument needs of a training step, and the storages such a step holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.profile import Category


class Step(Protocol):
    """What the instrument needs of a training step; ``workbench.parts.base.TrainingStep`` is one."""

    model: nn.Module

    def optimizer_state(self) -> Iterable[Tensor]:
        """Every tensor the optimizer keeps between steps."""
        ...

    def __call__(self, batch: Any) -> Any:
        """Perform one step."""
        ...


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    found: list[Tensor] = []
    _gather(value, found)
    return found


def _gather(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Tensor):  # asked here too: most items are, and a call for each would double the time
                found.append(item)
            elif item.__class__ not in _PLAIN:
                _gather(item, found)
    elif isinstance(value, Mapping):
        for item in value.values():
            _gather(item, found)


#: Most arguments of an operator that are no tensors; asking whether they are mappings would take longer.
_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout})


def storages_of(tensor: Tensor) -> tuple[torch.UntypedStorage, ...]:
    """The storages behind a tensor: two for a sparse one, none for an opaque one."""
    if tensor.layout is torch.sparse_coo:
        return tensor._indices().untyped_storage(), tensor._values().untyped_storage()
    try:
        return (tensor.untyped_storage(),)
    except (NotImplementedError, RuntimeError):
        return ()  # a tensor of a layout that owns no storage (opaque, nested): there are no bytes of it to count


def own_tensors(module: nn.Module) -> list[Tensor]:
    """What a module keeps beside its parameters and buffers, in attributes and in lists and dicts of them."""
    return tensors_in([v for n, v in vars(module).items() if n not in ("_parameters", "_buffers", "_modules")])


def kept_by_parts(step: Step) -> list[Tensor]:
    """What the parts of a step keep in their attributes: earlier values, a history, another copy of the model."""
    found: list[Tensor] = []
    for value in _within_parts(step):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, nn.Module):
            found += [*value.parameters(), *value.buffers()]
    return found


def kept_arrays(step: Step) -> list[np.ndarray | bytearray]:
    """The same in memory of numpy's and Python's own."""
    return [value for value in _within_parts(step) if isinstance(value, np.ndarray | bytearray)]


def _within_parts(step: Step) -> Iterator[Any]:
    """Tensors, arrays and modules that the parts refer to, each once.

    Parts are plain objects, some of them written by users, so whatever of ours or theirs they refer to is looked at.
    """
    seen: set[int] = {id(step), id(step.model)}
    waiting = [getattr(step, "parts", None)]
    while waiting:
        value = waiting.pop()
        if value.__class__ in _PLAIN or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor | nn.Module | np.ndarray | bytearray):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset | deque):
            waiting += value
        elif not isinstance(value, type) and value.__class__.__module__.partition(".")[0] not in _LIBRARIES:
            waiting += getattr(value, "__dict__", {}).values()


#: Whose objects hold no memory of a step's own: to look into theirs would lead anywhere.
_LIBRARIES = frozenset({"builtins", "torch", "numpy", "transformers", "peft", "threading", "logging", "functools"})


def held_storages(step: Step, batch: Any = None) -> dict[int, tuple[int, Category]]:
    """Bytes and category by storage address of everything a step holds between steps, each storage once."""
    model = step.model
    parameters = list(model.parameters())
    own = [tensor for module in model.modules() for tensor in own_tensors(module)]
    grads = [p.grad for p in parameters if p.grad is not None]
    everything = (
        (Category.OPTIMIZER, kept_by_parts(step)),  # first: what is known as something else is that
        (Category.INPUTS, batch),
        (Category.OPTIMIZER, list(step.optimizer_state())),
        (Category.GRADIENTS, grads),
        (Category.WEIGHTS, [parameters, list(model.buffers()), own]),  # last: a storage that is shared is a weight
    )
    return {
        s._cdata: (s.nbytes(), category)
        for category, group in everything
        for t in tensors_in(group)
        for s in storages_of(t)
    }
