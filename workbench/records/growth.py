"""Steps of a run that held more, or all less, than the step measured before the first."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.profile import MemoryProfile
from workbench.core.units import format_size
from workbench.records.schema import StepRecord

LEAST = 1 << 12  #: bytes more than are said: logs of single numbers grow by less


def growth(steps: Sequence[StepRecord], measured: MemoryProfile | None) -> tuple[str, ...]:
    """A sentence where a step without instruments passed the measured peak, which the prediction stands beside.

    The first step is step 1, as in panels and on the command line.
    """
    plain = [(step.peak, step.step + 1) for step in steps if step.peak is not None and not step.layer_norms]
    if measured is None:
        return ()
    risen = [(peak, step) for peak, step in plain if peak - measured.peak >= LEAST]
    if not risen:
        return ()
    highest, last = max(risen, key=lambda one: one[0])
    rise = f"step {last} by {format_size(highest - measured.peak)} to {format_size(highest)}"
    first = f"steps grew: from step {risen[0][1]} on they rose above the step measured before the first"
    return (f"{first}, {rise}, which no prediction of a settled step shows",)


def unreached(steps: Sequence[StepRecord], measured: MemoryProfile | None) -> tuple[str, ...]:
    """A sentence where no step came to the measured peak: a method that chooses anew what trains is predicted and
    measured at its dearest, which a run need not meet. One step alone, without optimizer
    state yet, does not tell."""
    highest = max((step.peak for step in steps if step.peak is not None), default=None)
    if measured is None or highest is None or len(steps) < 2 or measured.peak - highest < LEAST:
        return ()
    bound = "predicted and measured are of the dearest step that the method may choose"
    return (f"{bound}; the steps taken needed at most {format_size(highest)}",)
