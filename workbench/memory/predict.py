"""Predict the memory of a training step before it runs: the real step on fake tensors, under the tracker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.alone import each_alone
from workbench.core.collection import uncollected
from workbench.core.errors import BadInput, Incompatible
from workbench.core.phase import at_its_most
from workbench.core.profile import MemoryProfile, Tier
from workbench.memory import ledger
from workbench.memory.answers import Answers
from workbench.memory.dataless import asked_about
from workbench.memory.events import EventLog, profile_of
from workbench.memory.fake import Dry, FakeRunner
from workbench.memory.formula import NOTE, inside_by_formula
from workbench.memory.measure import GROWTH, growing
from workbench.memory.outside import outside
from workbench.memory.probe import LIMIT, Probe
from workbench.memory.randomness import random_states, same_states, seed_all, set_random_states
from workbench.memory.runner import Runner
from workbench.memory.shapes import mapped
from workbench.memory.step import Step
from workbench.memory.swapped import swap
from workbench.memory.threads import no_threads
from workbench.memory.tracker import Tracker
from workbench.memory.variants import checked

#: Called as ``tell(operator, args, kwargs, result)``.
Tell = Callable[[Any, Any, Any, Any], None]
TIERS = (Tier.FAKE, Tier.FORMULA, Tier.PROBE)


def predict(
    build_model: Callable[[], nn.Module],
    make_step: Callable[[nn.Module], Step],
    make_batch: Callable[[], Any],
    *,
    tier: Tier = Tier.PROBE,
    warm: int = 1,
    probe_limit: int = LIMIT,
) -> MemoryProfile:
    """Memory of the step after ``warm`` steps, in bytes, without running the model.

    ``build_model`` returns the model ready to train (wrapped, frozen, in the right mode), best on meta; its
    tensors are replaced by fake ones. ``make_step`` builds optimizer and step on it; ``make_batch`` gives a
    real batch, or a list of micro-batches, whose integers keep their values. With ``Tier.PROBE`` each
    operator signature whose tensors fit ``probe_limit`` bytes is executed once on this host; without a
    compiler the tier falls back to ``Tier.FORMULA``. Raises ``Incompatible`` when the step's control flow
    depends on floating-point values.
    """
    profile, _ = trace(build_model, make_step, make_batch, tier=tier, warm=warm, probe_limit=probe_limit)
    return profile


def trace(
    build_model: Callable[[], nn.Module],
    make_step: Callable[[nn.Module], Step],
    make_batch: Callable[[], Any],
    *,
    tier: Tier = Tier.PROBE,
    warm: int = 1,
    probe_limit: int = LIMIT,
    tell: Tell | None = None,
) -> tuple[MemoryProfile, EventLog]:
    """Like :func:`predict`, with the event log that the profile was replayed from.

    ``tell`` is called after every operator of every step; it must hold no tensor.
    """
    return next(traces(build_model, make_step, [make_batch], tier=tier, warm=warm, probe_limit=probe_limit, tell=tell))


def traces(
    build_model: Callable[[], nn.Module],
    make_step: Callable[[nn.Module], Step],
    make_batches: Iterable[Callable[[], Any]],
    *,
    tier: Tier = Tier.PROBE,
    warm: int = 1,
    probe_limit: int = LIMIT,
    tell: Tell | None = None,
) -> Iterator[tuple[MemoryProfile, EventLog]]:
    """One :func:`trace` for each batch in turn, of one model that is built and warmed up once, on the first batch.

    The log is the same object each time: read it before asking for the next.
    """
    if tier not in TIERS:
        raise BadInput("tier", str(tier), " or ".join(TIERS))
    notes: tuple[str, ...] = ()
    if tier is Tier.PROBE and not ledger.available():
        tier, notes = Tier.FORMULA, (f"workspace not probed: {ledger.reason()}",)
    asked = _Asked(build_model, make_step, tuple(make_batches), tier, warm, probe_limit, notes)
    yield from each_alone(asked.traced(tell))


@dataclass(frozen=True)
class _Asked:
    """What to predict, and how."""

    build_model: Callable[[], nn.Module]
    make_step: Callable[[nn.Module], Step]
    make_batches: tuple[Callable[[], Any], ...]
    tier: Tier
    warm: int
    probe_limit: int
    notes: tuple[str, ...]

    def traced(self, tell: Tell | None) -> Iterator[tuple[MemoryProfile, EventLog]]:
        """The steps on each batch in turn, under answers that the first of them can be finished with."""
        answers = Answers()
        while True:
            running = self.runs(answers, tell)
            try:
                first = next(running)
                break
            except Incompatible:
                raise
            except Exception:
                turned = answers.turned()
                if turned is None:
                    raise
                answers = turned
        yield checked(self.runs, answers, *first)
        yield from running

    def runs(
        self, answers: Answers, tell: Tell | None = None, seed: int = 0
    ) -> Iterator[tuple[MemoryProfile, EventLog]]:
        """The steps on each batch in turn, with questions about truth values answered by ``answers``.

        Numbers drawn at random are drawn from ``seed``; ``answers`` hear whether any were.
        """
        probe = Probe(limit=self.probe_limit) if self.tier is Tier.PROBE else None
        runner = FakeRunner(probe or (inside_by_formula if self.tier is Tier.FORMULA else None), answers)
        model = swap(self.build_model())
        tracker = Tracker(model, runner if tell is None else _telling(runner, tell))
        step: Step | None = None
        for make_batch in self.make_batches:
            batch = mapped(make_batch(), lambda t: runner.fake(t) if t.is_floating_point() else t)
            with _aside(answers, seed), tracker.tracing():
                if step is None:
                    step = self.make_step(tracker.model)
                    if tell is None and hasattr(step, "silent"):  # a step that records what is told: not this time
                        step.silent = True
                    for _ in range(self.warm):
                        tracker.step(step, batch)
                with no_threads():
                    tracker.step(step, batch)
            if probe is not None:
                probe.book.save()
            notes = [*self._said(probe), *_shapes(batch), *_kinds(model), *runner.assumptions]
            if answers.asked:
                notes.append("where the step asks for a truth value, the other one would stop it or change no byte")
            log, outer = tracker.log, outside(step.model) | tracker.foreign.told()
            profile = profile_of(log, self.tier, saved=tracker.saved, outside=outer, assumptions=notes)
            kept = log.live_bytes - sum(log.allocations[i].size for i in log.baseline)
            del batch  # its bytes go in this turn; the next one, made before the name is bound anew, finds none
            yield (replace(profile, remarks=(growing(kept),)) if kept >= GROWTH else profile), log

    def _said(self, probe: Probe | None) -> Iterator[str]:
        yield from self.notes
        if probe is not None:
            yield from (f"workspace of {n} calls of {name} not probed" for name, n in probe.skipped.items())
        if self.tier is Tier.FORMULA:
            yield NOTE
        yield f"{torch.get_num_threads()} threads"


@contextmanager
def _aside(answers: Answers, seed: int) -> Iterator[None]:
    """Leave the random states and the garbage collector of the process as they were.

    What torch logs when a fake kernel refuses is not shown: the error itself is told in one sentence.
    """
    before = random_states()
    log = logging.getLogger("torch._subclasses.fake_tensor")
    try:
        seed_all(seed)
        begun = random_states()
        log.addFilter(_nothing)
        with uncollected(), asked_about(), at_its_most():
            yield
        answers.chance = answers.chance or not same_states(begun, random_states())
    finally:
        log.removeFilter(_nothing)
        set_random_states(before)


def _nothing(_: logging.LogRecord) -> bool:
    return False


def _telling(runner: FakeRunner, tell: Tell) -> Runner:
    """``runner``, with ``tell`` told; what it does to an operator that it takes apart runs without data as well."""
    dry = Dry()
    whole: dict[int, bool] = {}

    def run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
        result, inside = runner(func, args, kwargs)
        if id(func) not in whole:
            whole[id(func)] = not func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
        if whole[id(func)]:
            tell(func, args, kwargs, result)
        else:
            with dry:
                tell(func, args, kwargs, result)
        return result, inside

    return run


def _shapes(batch: Any) -> list[str]:
    first = batch[0] if isinstance(batch, list | tuple) and batch else batch
    if not isinstance(first, dict):
        return []
    shapes = {k: tuple(v.shape) for k, v in first.items() if isinstance(v, Tensor)}
    mask = first.get("attention_mask")
    padding = [] if mask is None else ["no padding" if bool(mask.all()) else "padded examples"]
    return ["batch " + ", ".join(f"{k} {'x'.join(map(str, s))}" for k, s in shapes.items()), *padding]


def _kinds(model: nn.Module) -> list[str]:
    """Number formats of the weights, and the attention code a transformers model was told to use."""
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    found = ["weights " + ", ".join(dtypes)]
    return [*found, f"attention {attention}"] if attention else found
