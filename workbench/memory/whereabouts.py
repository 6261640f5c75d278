"""Where a step is at any moment: which module, which phase, forward or recomputed, called by whom."""

from __future__ import annotations

import bisect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from workbench.core.names import plain
from workbench.core.phase import listening
from workbench.core.profile import Phase

ACCUMULATE = "torch::autograd::AccumulateGrad"
#: Frames between the engine and a watched operator: torch's own, and a compiler's that is awake or asleep.
_WRAPPERS = ("inner", "_fn", "left_alone", "__torch_dispatch__", "_wrapped", "_unwatched")


class Whereabouts:
    """Knows module and phase of the operator being run.

    In the forward pass a stack of module calls says it. In the backward pass the autograd node being
    evaluated carries the sequence number it got in the forward pass, which says which module made it.
    No tensor and no autograd node is hooked, because such hooks would keep gradients alive longer.
    """

    def __init__(self, model: nn.Module) -> None:
        self.names = {id(m): plain(name) for name, m in model.named_modules()}
        self.owners: dict[int, str] = {}
        for name, module in model.named_modules():
            for parameter in module.parameters(recurse=False):
                self.owners.setdefault(id(parameter), plain(name))
        self._calls: list[str] = []
        self._numbers: list[int] = [0]
        self._modules: list[str] = [""]
        self._declared: Phase | None = None
        self._told: tuple[Phase | None, str | None] = (None, None)
        self._updating = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep track while the context lasts."""
        with ExitStack() as stack:
            stack.enter_context(listening(self._declare))
            for handle in (
                module_hooks.register_module_forward_pre_hook(self._enter),
                module_hooks.register_module_forward_hook(self._leave, always_call=True),
                register_optimizer_step_pre_hook(self._begin_update),
                register_optimizer_step_post_hook(self._end_update),
            ):
                stack.callback(handle.remove)
            yield

    def at(self, phase: Phase | None, module: str | None) -> None:
        """A captured graph says itself where it is: none of its operators is called by a module."""
        self._told = phase, module

    def _declare(self, phase: Phase | None) -> None:
        self._declared = phase

    def _begin_update(self, *_: Any) -> None:
        self._updating += 1

    def _end_update(self, *_: Any) -> None:
        self._updating -= 1

    def _mark(self) -> None:
        self._numbers.append(torch.autograd._get_sequence_nr())
        self._modules.append(self._calls[-1] if self._calls else "")

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        name = self.names.get(id(module))
        if name is not None:
            self._calls.append(name)
            self._mark()

    def _leave(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        if id(module) in self.names and self._calls:
            self._calls.pop()
            self._mark()

    def reset(self) -> None:
        """Forget the calls that an exception left open."""
        self._calls.clear()
        self._updating = 0

    @property
    def in_backward(self) -> bool:
        return torch._C._current_graph_task_id() != -1

    @property
    def recomputing(self) -> bool:
        """A module's forward runs inside the backward pass (activation checkpointing)."""
        return bool(self._calls) and self.in_backward

    def phase(self) -> Phase:
        if self._updating:
            return Phase.UPDATE
        if self._told[0] is not None:
            return self._told[0]
        if self._declared is not None:
            return self._declared
        return Phase.BACKWARD if self.in_backward else Phase.FORWARD

    def node(self) -> Any:
        """The autograd node being evaluated, if any."""
        return torch._C._current_autograd_node() if self.in_backward else None

    def module(self, node: Any) -> str:
        if self._calls:
            return self._calls[-1]
        if node is None:
            return self._told[1] or ""
        if node.name() == ACCUMULATE:
            return self.owners.get(id(node.variable), "")
        position = bisect.bisect_right(self._numbers, node._sequence_nr()) - 1
        return self._modules[position]


def called_by_engine() -> bool:
    """Whether the operator being dispatched was called by the autograd engine itself, not by Python code."""
    return _engine(sys._getframe(1)) is not None


def within_transform() -> bool:
    """Whether the engine at work was started by ``torch.func``: its tensors are wrapped whether a mode watches or not.

    torch's own record of transforms is empty below them, where modes are, so the callers tell.
    """
    frame = _engine(sys._getframe(1))
    for _ in range(3):
        frame = None if frame is None else frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").startswith("torch._functorch"):
            return True
    return False


def _engine(frame: Any) -> Any:
    while frame is not None and frame.f_code.co_name in _WRAPPERS:
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_name == "_engine_run_backward" else None
