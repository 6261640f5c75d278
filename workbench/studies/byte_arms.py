"""Accuracy against SRAM beyond the head's own: the last k biases, the last k layers, and sparse schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.lens.microcontroller import plan_step
from workbench.records.schema import RunRecord
from workbench.studies.tuned_arms import tuned_arms

if TYPE_CHECKING:
    from workbench.bench import Bench

METHOD = "int8-training"
BIASES, LAYERS, SPARSE = "last k biases", "last k layers", "sparse scheme"
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)  #: the grid of every arm


@dataclass(frozen=True)
class ByteArm:
    """One way of spending bytes. ``extra``: SRAM of its planned step on one example beyond training the head alone;
    ``lr`` is the best of the arm's own grid, ``losses`` the last training losses that decided on it."""

    group: str
    label: str
    extra: int
    lr: float
    losses: Mapping[float, float | None]
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
    rates: Sequence[float] = RATES,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> list[ByteArm]:
    """The head alone, the last k of ``counts`` biases, the last k layers whole, and ``schemes`` (settings by label).

    Each takes of ``rates`` the one of its own lowest training loss.
    """
    ways: dict[str, tuple[str, dict[str, Any]]] = {"head alone": (BIASES, {"biases": 0, "update": ""})}
    ways |= {f"{k} biases": (BIASES, {"biases": k, "update": ""}) for k in counts}
    ways |= {f"{k} layers": (LAYERS, {"biases": k, "update": _last(k)}) for k in counts}
    ways |= {label: (SPARSE, dict(scheme)) for label, scheme in schemes.items()}
    given = {label: {**settings, **scheme} for label, (_, scheme) in ways.items()}
    arms = tuned_arms(bench, METHOD, given, dict.fromkeys(ways, tuple(rates)), seeds, progress=progress)
    sram = {label: plan_step(bench.case(METHOD, **scheme)).sram for label, (_, scheme) in ways.items()}
    return [
        ByteArm(ways[a.label][0], a.label, sram[a.label] - sram["head alone"], a.lr, a.losses, a.records) for a in arms
    ]


def _last(count: int) -> str:
    return ",".join(f"{-i}:1" for i in range(1, count + 1))
