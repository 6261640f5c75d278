"""Predict the memory of a training step before it runs: the real step on fake tensors, under the tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.errors import BadInput
from workbench.core.profile import MemoryProfile, Tier
from workbench.memory import ledger
from workbench.memory.events import EventLog, profile_of
from workbench.memory.fake import FakeRunner, as_if_real, mapped, swap
from workbench.memory.formula import NOTE, inside_by_formula
from workbench.memory.measure import uncollected
from workbench.memory.outside import outside
from workbench.memory.probe import LIMIT, Probe
from workbench.memory.step import Step
from workbench.memory.tracker import Runner, Tracker

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
    tell: Callable[[Any, Any, Any, Any], None] | None = None,
) -> tuple[MemoryProfile, EventLog]:
    """Like :func:`predict`, with the event log that the profile was replayed from.

    ``tell(operator, args, kwargs, result)`` is called after every operator of every step; it must hold no tensor.
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
    tell: Callable[[Any, Any, Any, Any], None] | None = None,
) -> Iterator[tuple[MemoryProfile, EventLog]]:
    """One :func:`trace` for each batch in turn, of one model that is built and warmed up once, on the first batch.

    The log is the same object each time: read it before asking for the next.
    """
    if tier not in TIERS:
        raise BadInput("tier", str(tier), " or ".join(TIERS))
    notes: list[str] = []
    if tier is Tier.PROBE and not ledger.available():
        notes.append(f"workspace not probed: {ledger.reason()}")
        tier = Tier.FORMULA
    probe = Probe(limit=probe_limit) if tier is Tier.PROBE else None
    runner = FakeRunner(probe or (inside_by_formula if tier is Tier.FORMULA else None))
    model = swap(build_model(), runner)
    tracker = Tracker(model, runner if tell is None else _telling(runner, tell))
    if tier is Tier.FORMULA:
        notes.append(NOTE)
    step: Step | None = None
    for make_batch in make_batches:
        batch = mapped(make_batch(), lambda t: runner.fake(t) if t.is_floating_point() else t)
        with _aside(), tracker.tracing():
            if step is None:
                step = make_step(tracker.model)
                for _ in range(warm):
                    tracker.step(step, batch)
            tracker.step(step, batch)
        skipped = (
            []
            if probe is None
            else [f"workspace of {n} calls of {name} not probed" for name, n in probe.skipped.items()]
        )
        if probe is not None:
            probe.book.save()
        said = [*notes, *skipped, *_shapes(batch), *_kinds(model), f"{torch.get_num_threads()} threads"]
        said += runner.assumptions
        yield (
            profile_of(tracker.log, tier, saved=tracker.saved, outside=outside(step.model), assumptions=said),
            tracker.log,
        )
        del batch  # the next one is made before this name is bound anew, and must not find this one live


@contextmanager
def _aside() -> Iterator[None]:
    """Leave the random state and the garbage collector of the process as they were."""
    state = torch.get_rng_state()
    try:
        with uncollected(), as_if_real():
            yield
    finally:
        torch.set_rng_state(state)


def _telling(runner: FakeRunner, tell: Callable[[Any, Any, Any, Any], None]) -> Runner:
    def run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
        result, inside = runner(func, args, kwargs)
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
