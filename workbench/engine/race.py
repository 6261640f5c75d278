"""Race executors of one training step for a few steps and keep the fastest that computes the same.

The race runs on a snapshot: weights, buffers, optimizer state and random state are afterwards what they were.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workbench.memory.snapshot import Snapshot

TOLERANCE = 1e-5  #: relative; of the loss, and of the norm of each gradient
ROUNDS = 5  #: timed steps of each
TIME_LIMIT = 20.0  #: seconds of timed steps of each
HOPELESS = 2.0  #: times slower than the fastest so far in one step: out at once


class Raced(Protocol):
    """What the race needs of a training step."""

    model: nn.Module
    parameters: list[nn.Parameter]
    observer: Callable[[nn.Parameter], None] | None


@dataclass(frozen=True)
class Result:
    """The winner, the fastest step of each executor in seconds, and why an executor is out.

    ``preparing`` is what the first step of each took, with capture and compilation in it.
    """

    winner: str
    seconds: dict[str, float] = field(default_factory=dict)
    preparing: dict[str, float] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def race(step: Raced, runs: Mapping[str, Callable[[], Tensor]], *, rounds: int = ROUNDS) -> Result:
    """Race ``runs``: each performs one training step on one fixed batch. The first is the reference.

    An executor is out when its loss, a gradient or a moved buffer differs from the reference's beyond
    ``TOLERANCE``, when it fails, or when it is ``HOPELESS``; the reference always stays.
    """
    reference, *others = runs
    preparing: dict[str, float] = {}
    out: dict[str, str] = {}
    expected = seen(step, runs[reference], preparing, reference)
    for name in others:
        try:
            found = seen(step, runs[name], preparing, name)
        except Exception as error:  # an executor that fails must not end the training it would serve
            out[name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            continue
        reason = difference(expected, found)
        if reason is not None:
            out[name] = reason
    seconds = _timed(step, {n: run for n, run in runs.items() if n not in out}, rounds, out)
    return Result(min(seconds, key=lambda n: (n in out, seconds[n])), seconds, preparing, out)


Seen = tuple[float, dict[str, Tensor], dict[str, Tensor]]


def seen(step: Raced, run: Callable[[], Tensor], preparing: dict[str, float], name: str) -> Seen:
    """Loss, gradients and buffers of one step, with the seconds it took."""
    names = {id(p): n for n, p in step.model.named_parameters()}
    gradients: dict[str, Tensor] = {}
    before = step.observer

    def look(parameter: nn.Parameter) -> None:
        if parameter.grad is not None:
            gradients[names[id(parameter)]] = parameter.grad.detach().clone()

    with Snapshot(step):  # type: ignore[arg-type]
        step.observer = look
        try:
            started = time.perf_counter()
            loss = float(run())
            preparing[name] = time.perf_counter() - started
        finally:
            step.observer = before
        buffers = {n: b.detach().clone() for n, b in step.model.named_buffers()}
    return loss, gradients, buffers


def difference(expected: Seen, seen: Seen) -> str | None:
    """One sentence on what differs beyond ``TOLERANCE``; ``None`` when all agree."""
    if not math.isclose(expected[0], seen[0], rel_tol=TOLERANCE, abs_tol=1e-7):
        return f"its loss is {seen[0]:.8g}, not {expected[0]:.8g}"
    if expected[1].keys() != seen[1].keys():
        return "it gives gradients to other tensors"
    whole = math.sqrt(sum(float(g.double().square().sum()) for g in expected[1].values()))
    for kind, ours, theirs in (("gradient", expected[1], seen[1]), ("buffer", expected[2], seen[2])):
        for name, tensor in ours.items():
            size, apart = tensor.double().norm(), (tensor.double() - theirs[name].double()).norm()
            # A gradient that is zero but for rounding has no relative error worth the name.
            if not float(apart) <= TOLERANCE * float(size) + 1e-7 * whole:
                return f"its {kind} of {name} is {float(apart / size):.1e} away"
    return None


def _timed(step: Raced, runs: Mapping[str, Callable[[], Tensor]], rounds: int, out: dict[str, str]) -> dict[str, float]:
    """Fastest step of each, taken in turn; with one thread in CPU time, which other work on the host leaves alone."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, float] = {}
    spent = dict.fromkeys(runs, 0.0)
    reference = next(iter(runs))
    with Snapshot(step):  # type: ignore[arg-type]
        for run in runs.values():
            run()  # optimizer state exists from here
        for _ in range(rounds):
            for name, run in runs.items():
                if name in out or spent[name] > TIME_LIMIT:
                    continue
                started = clock()
                run()
                took = clock() - started
                spent[name] += took
                seconds[name] = min(took, seconds.get(name, math.inf))
                if name != reference and took > HOPELESS * min(seconds.values()):
                    out[name] = f"a step took {took / min(seconds.values()):.1f} times the fastest"
    return seconds
