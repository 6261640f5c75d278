"""A step that is given up in its middle leaves nothing behind; one that has begun to update is done as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch
from torch import nn

from workbench.core.stopping import Stopped, check, heeding
from workbench.memory import ledger
from workbench.memory.interrupt import Interrupt
from workbench.memory.randomness import random_states, same_states
from workbench.parts.base import TrainingStep
from workbench.testing import Subject

pytestmark = pytest.mark.skipif(not ledger.available(), reason=f"no ledger: {ledger.reason()}")

CASES = {
    "dropout": ("full", "tiny-bert", {}),
    "running statistics": ("full", "tiny-cnn", {}),
    "an adapter": ("lora", "tiny-bert", {"lora_dropout": 0.1}),
    "recomputing": ("checkpointing", "tiny-bert", {}),
    "update in backward": ("update-in-backward", "tiny-bert", {}),
    "packed": ("full", "tiny-cnn", {"saved": "int8", "bit_masks": True}),
    "bf16": ("full", "tiny-bert", {"weights": "bf16"}),
}


def _state(step: TrainingStep) -> list[torch.Tensor]:
    held = [*step.model.parameters(), *step.model.buffers(), *step.optimizer_state()]
    return [t.detach().clone() for t in held]


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other))


def _begun(name: str) -> tuple[TrainingStep, list[dict[str, torch.Tensor]]]:
    """A step that was taken twice, so that its optimizer has state."""
    method, model, settings = CASES[name]
    case = Subject(method, model, settings).case
    step, batch = case.step(case.attached()), case.example()
    for seed in range(2):
        step(batch, seed=seed)
    return step, batch


def _at(places: list[nn.Module], stop: Callable[[], None], stack: ExitStack, *, backward: bool) -> None:
    for module in places:
        if backward:  # the gradient of what it gives: the backward pass has come so far

            def watch(_: nn.Module, __: object, given: object) -> None:
                if isinstance(given, torch.Tensor) and given.requires_grad:
                    given.register_hook(lambda gradient: stop())

            stack.callback(module.register_forward_hook(watch).remove)
        else:
            stack.callback(module.register_forward_pre_hook(lambda *_: stop()).remove)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_step_that_is_given_up_leaves_nothing_behind(name: str, backward: bool) -> None:
    step, batch = _begun(name)
    leaves = [m for m in step.model.modules() if not list(m.children())]
    stopped = 0
    for number in (0, len(leaves) // 2, len(leaves) - 1):
        before, states, cancel = _state(step), random_states(), threading.Event()
        with ExitStack() as stack, Interrupt(cancel) as interrupt:

            def stop(cancel: threading.Event = cancel, interrupt: Interrupt = interrupt) -> None:
                cancel.set()
                interrupt.now()

            _at([leaves[number]], stop, stack, backward=backward)
            try:
                with interrupt.of(step):
                    step(batch, seed=7)
            except Stopped:
                stopped += 1
                assert _same(before, _state(step)), f"given up at {type(leaves[number]).__name__}"
                assert same_states(states, random_states())
                assert all(p.grad is None for p in step.model.parameters())
    assert stopped >= (1 if backward else 2), "this test sees nothing"


def test_the_next_step_is_what_it_would_have_been() -> None:
    results = []
    for give_up in (False, True):
        torch.manual_seed(3)
        step, batch = _begun("running statistics")
        if give_up:
            cancel = threading.Event()
            with Interrupt(cancel) as interrupt, ExitStack() as stack:
                cancel.set()
                _at([[m for m in step.model.modules() if isinstance(m, nn.BatchNorm2d)][-1]], interrupt.now, stack,
                    backward=True)  # fmt: skip
                with pytest.raises(Stopped), interrupt.of(step):
                    step(batch, seed=7)
        step(batch, seed=8)
        results.append(_state(step))
    assert _same(*results)


def test_a_step_that_has_begun_to_update_is_done() -> None:
    step, batch = _begun("update in backward")
    before, cancel, told = _state(step), threading.Event(), list[nn.Parameter]()
    with Interrupt(cancel) as interrupt:

        def updating(parameter: nn.Parameter) -> None:
            told.append(parameter)
            cancel.set()
            interrupt.now()

        step.observer = updating
        with interrupt.of(step):
            step(batch, seed=7)
    assert len(told) == len(step.parameters) and not _same(before, _state(step))


def test_an_estimator_that_changes_weights_as_it_goes_is_left_to_end() -> None:
    case = Subject("mezo", "tiny-bert").case
    step, cancel = case.step(case.attached()), threading.Event()
    cancel.set()
    with Interrupt(cancel) as interrupt, interrupt.of(step):
        interrupt.now()
        step(case.example(), seed=7)


def test_other_threads_go_on() -> None:
    cancel, made = threading.Event(), list[torch.Tensor]()
    with Interrupt(cancel) as interrupt:
        cancel.set()
        interrupt.now()
        with pytest.raises(Stopped), interrupt.anywhere():
            other = threading.Thread(target=lambda: made.append(torch.ones(8)))
            other.start()
            other.join()
            assert len(made) == 1
            torch.ones(8)
    assert torch.ones(8).sum() == 8


def test_a_failure_of_its_own_is_no_cancelling() -> None:
    with (
        Interrupt(threading.Event()) as interrupt,
        pytest.raises(RuntimeError, match="its own"),
        interrupt.anywhere(),
    ):
        raise RuntimeError("its own")


def test_who_waits_is_heard_without_being_called() -> None:
    """The watcher sees the event by itself; the loop ends because of it, or the test fails."""
    cancel = threading.Event()
    with Interrupt(cancel) as interrupt, pytest.raises(Stopped), interrupt.anywhere():
        cancel.set()
        for _ in range(20_000_000):  # half a minute, where nobody hears
            torch.ones(8)


def test_heeding_is_of_this_context_alone() -> None:
    cancel = threading.Event()
    cancel.set()
    check()
    with heeding(cancel), pytest.raises(Stopped):
        check()
    check()
