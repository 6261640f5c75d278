"""Operations that whole trainings took, counted as torch's own counter counts, what choosing tensors took included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.records.schema import RunRecord


@dataclass(frozen=True)
class Spent:
    """Operations of all steps of a run, of choosing what trains, and of as many steps of full tuning."""

    training: int
    choosing: int
    full: int


def spent(records: Sequence[RunRecord]) -> dict[str, Spent]:
    """Operations by run id, for every run that made a step."""
    return {record.id: _spent(record) for record in records if record.steps}


def _spent(record: RunRecord) -> Spent:
    from workbench.case import Case
    from workbench.predictions import counted

    def of(method: str, **settings: object) -> int:
        shape = record.batch, record.length, record.accumulate
        case = Case(record.task, record.model, method, *shape, settings=settings)
        return counted(case).total_flops

    steps = len(record.steps)
    full = of("full") * steps
    if not record.choices:
        return Spent(of(record.method, **record.config) * steps, 0, full)
    starts = [int(choice["step"]) for choice in record.choices] + [steps]
    lengths = [end - start for start, end in pairwise(starts)]
    passes = sum(n * (int(c["forward"]) + int(c["cost"])) for n, c in zip(lengths, record.choices))
    # They are counted for one micro-batch; what is chosen is chosen on the first of a step.
    return Spent(passes * record.accumulate, sum(int(c["selecting"]) for c in record.choices), full)
