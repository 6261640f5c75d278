"""The operations of a run are those that torch counts while it runs."""

from __future__ import annotations

import pytest
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb
from workbench.studies.operations import spent


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("way", ["green-trainer", "green-trainer-last", "s2ft", "lora", "full"])
def test_counted_operations_are_those_that_ran(tmp_path, monkeypatch, way: str, accumulate: int) -> None:
    """Whole steps of a short run, choosing included, against the counter around each of them."""
    from workbench.parts.base import TrainingStep

    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path))
    bench = wb.open("pixels", "tiny-vit", budget="1GiB", batch=8 // accumulate, train=24, test=8, epochs=2)
    seen: list[int] = []
    plain = TrainingStep.__call__

    def counted(self, batches, seed=None):
        from workbench.core.phase import is_at_its_most

        if is_at_its_most():
            return plain(self, batches, seed)
        with FlopCounterMode(display=False) as flops:
            loss = plain(self, batches, seed)
        seen.append(flops.get_total_flops())
        return loss

    monkeypatch.setattr(TrainingStep, "__call__", counted)
    method, _, select = way.partition("-last")
    record = bench.run(method, accumulate=accumulate, **({"select": "last"} if way.endswith("-last") else {}))
    assert select == "" and len(seen) == len(record.steps) == 6
    found = spent([record])[record.id]
    assert found.training + found.choosing == sum(seen)
    assert (found.choosing > 0) == (way == "green-trainer")
    assert found.training <= found.full
