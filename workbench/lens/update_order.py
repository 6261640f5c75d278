"""Live bytes along one captured step, with each update right after its gradient and with all updates at the end.

Nothing runs: the step is captured as a graph on shapes alone and the bytes follow from its schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import Incompatible

if TYPE_CHECKING:
    from workbench.case import Case


@dataclass(frozen=True)
class Ordering:
    """One order of the same step. ``totals`` and ``gradients`` are bytes while each entry runs; ``phases`` its phase.

    Weights, optimizer state, inputs and workspace inside operators are in neither order's figures.
    """

    label: str
    phases: tuple[str, ...]
    totals: tuple[int, ...]
    gradients: tuple[int, ...]

    @property
    def peak(self) -> int:
        return max(self.totals, default=0)

    @property
    def most_gradients(self) -> int:
        return max(self.gradients, default=0)


EARLY, LATE = "updates at their gradients", "updates at the end"


def orderings(case: Case) -> tuple[Ordering, Ordering]:
    """The early and the late order of one step of ``case``. Raises ``Incompatible`` where it cannot be captured."""
    from workbench.engine.capture import NotCaptured, capture
    from workbench.engine.prune import prune
    from workbench.engine.schedule import live_bytes, schedule

    reason = case.refusal()
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    model = case.attached(device="meta", weights=False)
    try:
        joint = prune(capture(model, case.task.loss, case.example()[0]))
    except NotCaptured as error:
        raise Incompatible("method", case.method_name, str(error)) from error
    found = []
    for label, early in ((EARLY, True), (LATE, False)):
        lives = live_bytes(schedule(joint, early=early))
        columns = zip(*((str(live.entry.phase), live.total, live.gradients) for live in lives))
        found.append(Ordering(label, *columns))
    return found[0], found[1]
