"""What is left of a training once it is over: how it broke, if it did, and what its record says of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core.errors import PintpotError
from workbench.core.stopping import Stopped
from workbench.core.units import format_size
from workbench.records.growth import growth, unreached
from workbench.records.schema import Quantity, State, StepRecord

if TYPE_CHECKING:
    from workbench.session import Session
    from workbench.tasks.base import Metrics

Found = TypeVar("Found")


def broken(error: Exception, *, begun: bool) -> tuple[State, str]:
    """What an error from inside a library means for a run: it ends the run, not the sweep it belongs to."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        asked = re.search(r"allocate (\d+) bytes", str(error))
        size = f" for {format_size(int(asked[1]))} more" if asked else ""
        return State.OUT_OF_MEMORY, f"this machine had no memory left{size}; the budget allows more than it has free"
    # A tuner that breaks before its first step has trained nothing, so that is a refusal, in the tuner's own words.
    return State.FAILED if begun else State.REFUSED, f"{type(error).__name__}: {error}".splitlines()[0][:300]


def evaluated(session: Session, ask: Callable[[], Found], trained: int = 0) -> tuple[Found | None, State, str]:
    """What ``ask`` finds of the model after so many ``trained`` steps; else how the run ends without it, and why.

    Evaluating takes longer than whoever cancels wants to wait, so it is given up as a step is. Whatever ends it, what
    was trained goes to the run's checkpoints: a run that keeps some is scored when it is asked for again. What is ours
    to explain (a missing asset, bad input) is raised.
    """
    from workbench.memory.interrupt import Interrupt

    when = f"after all {trained} steps, before the result was scored" if trained else "before its first step"
    try:
        with Interrupt(session.cancel) as interrupt, interrupt.anywhere():
            return ask(), State.DONE, ""
    except Stopped:
        if trained:
            session.checkpoints.keep(session)
        return None, State.CANCELLED, f"cancelled {when}"
    except PintpotError:
        if trained:
            _keep(session)
        raise
    except Exception as error:  # by a library or a task; no fault of what was trained, which is a result of its own
        state, reason = broken(error, begun=True)
    if trained:
        _keep(session)  # only here, where the frames of the error no longer hold what it had allocated
    return None, state, f"{reason}; this was {when}"


def _keep(session: Session) -> None:
    """Keep what was trained if that can be done; the error that it is kept for matters more than one in doing so."""
    try:
        session.checkpoints.keep(session)
    except (PintpotError, OSError, RuntimeError, MemoryError) as error:
        session.checkpoints.notes.append(f"what was trained could not be kept: {error}".splitlines()[0][:300])


def results(
    session: Session, steps: list[StepRecord], scored: Metrics | None, before: Metrics | None
) -> dict[str, Any]:
    """The fields of a run's record that are known once it has trained, whatever ended it."""
    from workbench.adapters.tensor_file import file_bytes
    from workbench.lens.layers import layer_names

    plain = [s.seconds for i, s in enumerate(steps) if i > 1 and not s.layer_norms]
    return {
        "planned_steps": session.total,
        "steps": tuple(steps),
        "measured": session.measured,
        "arena": session.arena_use,
        "notes": (*session.checkpoints.notes, *growth(steps, session.measured), *unreached(steps, session.measured)),
        "step_time": Quantity(median(plain), "measured", "median of the steps without instruments") if plain else None,
        "trainable": sum(getattr(p, "stands_for", p.numel()) for p in session.training.parameters),
        "parameters": sum(p.numel() for p in session.model.parameters()),
        "layers": tuple(dict.fromkeys(layer_names(session.model).values())),
        "choices": tuple(choice.to_dict() for choice in getattr(session.training.parts.estimator, "choices", ())),
        "adapter_bytes": file_bytes(session.case.method.adapter_state(session.model)),
        "score": asdict(scored) if scored is not None else {},
        "score_before": asdict(before) if before is not None else {},
        "data": {
            "hash": session.data.hash,
            "split": session.data.split,
            "loss mask": session.data.mask_id,
            "train": len(session.data.train),
            "test": len(session.data.test),
            "split seed": session.split_seed,
        },
    }
