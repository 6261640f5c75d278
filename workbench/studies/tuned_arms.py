"""Compare settings of one method fairly: each with a learning rate from its own grid, then all seeds at that rate.

One rate for all would compare how well the rate fits. The rate is chosen by the training loss at the end of one run,
never by the test score, which is what is compared afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.records.schema import RunRecord, State

if TYPE_CHECKING:
    from workbench.bench import Bench

LAST = 0.25  #: share of a run's steps whose mean loss decides on the rate


@dataclass(frozen=True)
class TunedArm:
    """One arm at the best rate of its grid. ``losses``: the last losses by rate (``None``: it diverged)."""

    label: str
    lr: float
    losses: Mapping[float, float | None]
    records: tuple[RunRecord, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(float(r.score["value"]) for r in self.records if r.score)


def tuned_arms(
    bench: Bench,
    method: str,
    arms: Mapping[str, Mapping[str, Any]],
    grids: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    *,
    progress: Callable[[str], None] | None = None,
) -> list[TunedArm]:
    """Every arm (settings by label) at its own best rate, run with every seed. Finished runs come from the store."""
    if not seeds:
        raise BadInput("seeds", list(seeds), "at least one seed")
    tell, found = progress or (lambda _: None), []
    for label, settings in arms.items():
        losses: dict[float, float | None] = {}
        for lr in grids[label]:
            tell(f"{label}, rate {lr}")
            losses[lr] = last_loss(bench.run(method, seeds[0], **{**settings, "lr": lr}))
        trained = {lr: loss for lr, loss in losses.items() if loss is not None}
        lr = min(trained, key=trained.__getitem__) if trained else min(losses)
        records = []
        for seed in seeds:
            tell(f"{label}, seed {seed}")
            records.append(bench.run(method, seed, **{**settings, "lr": lr}))
        found.append(TunedArm(label, lr, losses, tuple(records)))
    return found


def last_loss(record: RunRecord) -> float | None:
    """Mean loss of the last steps; ``None`` for a run that did not end."""
    if record.state is not State.DONE or not record.steps:
        return None
    count = max(1, round(LAST * len(record.steps)))
    return mean(step.loss for step in record.steps[-count:])
