"""Accuracy against SRAM beyond the head's own: the last k biases, the last k layers, and a searched scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.lens.microcontroller import plan_step
from workbench.records.schema import RunRecord

if TYPE_CHECKING:
    from workbench.bench import Bench

METHOD = "int8-training"
BIASES, LAYERS, SPARSE = "last k biases", "last k layers", "searched scheme"


@dataclass(frozen=True)
class ByteArm:
    """One way of spending bytes. ``extra``: SRAM of its planned step on one example beyond training the head alone."""

    group: str
    label: str
    extra: int
    records: tuple[RunRecord, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(float(r.score["value"]) for r in self.records if r.score)


def byte_arms(
    bench: Bench,
    schemes: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    *,
    counts: Sequence[int] = (2, 5, 10),
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> list[ByteArm]:
    """The head alone, the last k of ``counts`` biases, the last k layers whole, and ``schemes`` (settings by label)."""
    tell = progress or (lambda _: None)
    ways: list[tuple[str, str, dict[str, Any]]] = [(BIASES, "head alone", {"biases": 0, "update": ""})]
    ways += [(BIASES, f"{k} biases", {"biases": k, "update": ""}) for k in counts]
    ways += [(LAYERS, f"{k} layers", {"biases": k, "update": _last(k)}) for k in counts]
    ways += [(SPARSE, label, dict(scheme)) for label, scheme in schemes.items()]
    alone, found = None, []
    for group, label, scheme in ways:
        sram = plan_step(bench.case(METHOD, **scheme)).sram
        alone = sram if alone is None else alone
        records = []
        for seed in seeds:
            tell(f"{label}, seed {seed}")
            records.append(bench.run(METHOD, seed, **{**settings, **scheme}))
        found.append(ByteArm(group, label, sram - alone, tuple(records)))
    return found


def _last(count: int) -> str:
    return ",".join(f"{-i}:1" for i in range(1, count + 1))
