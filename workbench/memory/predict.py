"""Predict the memory of a training step before it runs: the real step on fake tensors, under the tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import MemoryProfile, Tier
from workbench.memory import ledger
from workbench.memory.answers import Answers, Site
from workbench.memory.dataless import listed_one_by_one
from workbench.memory.events import EventLog, profile_of
from workbench.memory.fake import Dry, FakeRunner
from workbench.memory.formula import NOTE, inside_by_formula
from workbench.memory.measure import uncollected
from workbench.memory.outside import outside
from workbench.memory.probe import LIMIT, Probe
from workbench.memory.shapes import mapped, refused
from workbench.memory.step import Step
from workbench.memory.swapped import swap
from workbench.memory.tracker import Runner, Tracker

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
    if tier not in TIERS:
        raise BadInput("tier", str(tier), " or ".join(TIERS))
    notes: tuple[str, ...] = ()
    if tier is Tier.PROBE and not ledger.available():
        tier, notes = Tier.FORMULA, (f"workspace not probed: {ledger.reason()}",)
    asked = _Asked(build_model, make_step, make_batch, tier, warm, probe_limit, notes)
    answers = Answers()
    while True:
        try:
            made = asked.run(answers, tell)
            break
        except Incompatible:
            raise
        except Exception:
            turned = answers.turned()
            if turned is None:
                raise
            answers = turned
    for site in answers.asked.keys() - answers.settled:
        _check(asked, answers.contrary(site), site, made[0])
    return made


def _check(asked: _Asked, contrary: Answers, site: Site, profile: MemoryProfile) -> None:
    """Refuse unless the contrary answer at ``site`` stops the step at once or leads to the same bytes."""
    try:
        other, _ = asked.run(contrary, None)
    except Incompatible:
        raise
    except Exception as error:
        if contrary.last != site:
            raise refused("a truth value computed from floating-point data") from error
        return
    same = (other.peak, other.by_category, other.timeline) == (profile.peak, profile.by_category, profile.timeline)
    if not same or site not in contrary.asked:
        raise refused("a truth value computed from floating-point data")


@dataclass(frozen=True)
class _Asked:
    """What to predict, and how."""

    build_model: Callable[[], nn.Module]
    make_step: Callable[[nn.Module], Step]
    make_batch: Callable[[], Any]
    tier: Tier
    warm: int
    probe_limit: int
    notes: tuple[str, ...]

    def run(self, answers: Answers, tell: Tell | None) -> tuple[MemoryProfile, EventLog]:
        probe = Probe(limit=self.probe_limit) if self.tier is Tier.PROBE else None
        runner = FakeRunner(probe or (inside_by_formula if self.tier is Tier.FORMULA else None), answers)
        model = swap(self.build_model())
        batch = mapped(self.make_batch(), lambda t: runner.fake(t) if t.is_floating_point() else t)
        tracker = Tracker(model, runner if tell is None else _telling(runner, tell))
        step = _traced(tracker, self.make_step, batch, self.warm)
        notes = list(self.notes)
        if probe is not None:
            probe.book.save()
            notes += [f"workspace of {n} calls of {name} not probed" for name, n in probe.skipped.items()]
        if self.tier is Tier.FORMULA:
            notes.append(NOTE)
        notes += [*_shapes(batch), *_kinds(model), f"{torch.get_num_threads()} threads", *runner.assumptions]
        if answers.asked:
            notes.append("where the step asks for a truth value, the other one would stop it or change no byte")
        log = tracker.log
        outer = outside(step.model)
        return profile_of(log, self.tier, saved=tracker.saved, outside=outer, assumptions=notes), log


def _traced(tracker: Tracker, make_step: Callable[[nn.Module], Step], batch: Any, warm: int) -> Step:
    state = torch.get_rng_state()
    try:
        with uncollected(), listed_one_by_one(), tracker.tracing():
            step = make_step(tracker.model)
            for _ in range(warm + 1):
                tracker.step(step, batch)
    finally:
        torch.set_rng_state(state)
    return step


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
    return ["batch " + ", ".join(f"{k} {'x'.join(map(str, s))}" for k, s in shapes.items())]


def _kinds(model: nn.Module) -> list[str]:
    """Number formats of the weights, and the attention code a transformers model was told to use."""
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    found = ["weights " + ", ".join(dtypes)]
    return [*found, f"attention {attention}"] if attention else found
