"""What GreenTrainer's choosing took in operations, and LoRA trained for as many, for ``lean_backward.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lean_backward_settings import SEEDS, arms, row, stored_runs

from workbench.bench import Bench
from workbench.core.spelling import parsed_way
from workbench.predictions import counted
from workbench.records.schema import RunRecord
from workbench.studies.lean_transformers import trained
from workbench.studies.operations import spent


def part_operations(bench: Bench, stored: bool) -> list[Mapping[str, Any]]:
    """Operations of whole runs of GreenTrainer, what its choosing took apart; and LoRA (``par`` is true) trained for as
    many steps as bring it nearest to them, choosing included."""
    find, ways = stored_runs if stored else trained, arms(bench).trained
    green = next(w for w in ways if w.startswith("green-trainer") and "select" not in w)
    rows = _counted(bench, find(bench, [green], SEEDS))
    lora = next(w for w in ways if w.startswith("lora"))
    longer = replace(bench, schedule=replace(bench.schedule, steps=_steps(bench, lora, rows)))
    return rows + [one | {"par": True} for one in _counted(longer, find(longer, [lora], SEEDS))]


def _counted(bench: Bench, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    work = spent(records)
    return [{**row(r, bench), **vars(work[r.id])} for r in records]


def _steps(bench: Bench, lora: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Steps of LoRA whose operations come nearest to those of GreenTrainer's run, choosing included."""
    mean = sum(r["training"] + r["choosing"] for r in rows) / len(rows)
    method, settings = parsed_way(lora)
    return round(mean / counted(bench.case(method, **settings)).total_flops)
