"""The per-operator probe: what is recorded, what is timed, and that predictions follow the work."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from workbench.core.errors import ResourceMissing
from workbench.devices.pace import pace
from workbench.devices.record import FAR, NEAR, TensorSpec, record
from workbench.devices.step_time import (
    CLASSES,
    ProbeStore,
    predict,
    predict_step_time,
    relative_time,
    time_signatures,
)

FREE = dict.fromkeys(CLASSES, 0.0)


@pytest.fixture
def store(tmp_path) -> ProbeStore:
    return ProbeStore(tmp_path)


def step(width: int = 64, batch: int = 8):
    model = nn.Sequential(
        nn.Embedding(50, width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, 5)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids, labels = torch.zeros(batch, dtype=torch.long), torch.zeros(batch, dtype=torch.long)

    def run() -> None:
        nn.functional.cross_entropy(model(ids), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def test_phases_and_module_calls_are_seen() -> None:
    recorder = record(step())
    assert {s.phase for s in recorder.calls} == {"forward", "backward", "update"}
    assert recorder.modules == 6


def test_pages_are_those_of_the_gradients_an_optimizer_reads() -> None:
    model = nn.Sequential(*[nn.Linear(512, 512, bias=False) for _ in range(8)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    x = torch.ones(4, 512, requires_grad=True)

    def run() -> None:
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    assert record(run).pages == (8 - 2) * 512 * 512 * 4 // 4096
    assert record(lambda: model(x).sum().backward()).pages == 0


def test_every_operator_of_a_step_can_be_timed(store) -> None:
    recorder = record(step())
    seconds, failed = time_signatures(recorder.calls, store)
    assert failed == []
    assert set(seconds) == set(recorder.calls)
    assert all(value > 0 for value in seconds.values())


def test_fake_recording_has_the_same_calls_as_a_real_one() -> None:
    real = record(step())
    with FakeTensorMode():
        fake = record(step())
    assert {(str(s.op), s.args, s.phase): n for s, n in fake.calls.items()} == {
        (str(s.op), s.args, s.phase): n for s, n in real.calls.items()
    }


def test_an_operator_is_visited_three_times_and_no_more(store) -> None:
    recorder = record(step())
    for visits in (1, 2, 3, 3):
        kept, _ = time_signatures(recorder.calls, ProbeStore(store.path.parent))
        again = ProbeStore(store.path.parent)
        assert {len(seen) for seen in again.visits.values()} == {visits}
    assert all(kept[s] == again.get(s) for s in recorder.calls)


def test_one_disturbed_visit_does_not_count(store) -> None:
    signature = next(iter(record(step()).calls))
    for timing in (1.0, 50.0, 1.2):
        store.add({signature: timing})
    assert store.get(signature) == 1.2


def test_timings_follow_the_pace_and_not_the_clock(store, monkeypatch) -> None:
    """A host twice as slow in all it does gives the same timings in units of its pace."""
    recorder = record(step())
    monkeypatch.setattr("workbench.devices.step_time._probe", lambda signature: 3e-6)
    monkeypatch.setattr("workbench.devices.step_time.pace", lambda: 1e-3)
    quiet, _ = time_signatures(recorder.calls, ProbeStore(store.path.parent / "quiet"))
    monkeypatch.setattr("workbench.devices.step_time._probe", lambda signature: 6e-6)
    monkeypatch.setattr("workbench.devices.step_time.pace", lambda: 2e-3)
    busy, _ = time_signatures(recorder.calls, ProbeStore(store.path.parent / "busy"))
    assert busy == pytest.approx(quiet)


def test_pace_is_seconds_of_real_work() -> None:
    assert 1e-3 < pace(3) < 1.0


def test_a_sparse_operand_is_recorded_and_named_when_it_cannot_be_timed(store) -> None:
    matrix = torch.eye(8).to_sparse()
    dense = torch.ones(8, 4)
    recorder = record(lambda: torch.sparse.mm(matrix, dense))
    products = [s for s in recorder.calls if "mm" in str(s.op)]
    assert products
    assert products[0].bytes >= 4 * (8 * 4 + 8 * 4) + 8 * (2 * 8 + 4)
    _, note = relative_time(recorder, store, FREE)
    assert "mm" in note.partition("not timed")[2]


def test_a_damaged_store_is_started_afresh(store) -> None:
    store.path.parent.mkdir(exist_ok=True)
    store.path.write_text("{")
    assert ProbeStore(store.path.parent).visits == {}


def test_operands_long_unused_are_taken_from_far_memory() -> None:
    a, big = torch.ones(256, 256), torch.ones(12 << 20)

    def run() -> None:
        _ = a @ a
        _ = big + 1

    found = {str(s.op): s for s in record(run).calls}
    assert {t.where for t in found["aten.mm.default"].args if isinstance(t, TensorSpec)} == {FAR}

    def near() -> None:
        b = a + 1
        _ = b @ b

    found = {str(s.op): s for s in record(near).calls}
    assert {t.where for t in found["aten.mm.default"].args if isinstance(t, TensorSpec)} == {NEAR}


def test_prediction_follows_the_work(store) -> None:
    small = predict(record(step(64, 8)), store, FREE)
    large = predict(record(step(512, 512)), store, FREE)
    assert small.kind == "predicted"
    assert large.value > 5 * small.value


def test_costs_per_call_are_added(store) -> None:
    recorder = record(step())
    for _ in range(3):
        time_signatures(recorder.calls, store)  # all visits, so that nothing is timed again between the two
    free, _ = relative_time(recorder, store, FREE)
    dear, _ = relative_time(recorder, store, {**FREE, "module": 1.0, "view": 1e-3})
    views = sum(n for s, n in recorder.calls.items() if s.group == "view")
    assert dear - free == pytest.approx(recorder.modules + views * 1e-3)


def test_inside_fake_mode_nothing_of_the_model_is_computed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    monkeypatch.setattr("workbench.devices.step_time.overheads", lambda: FREE)
    with FakeTensorMode():
        guess = predict_step_time(step())
    assert guess.value > 0
    assert "not timed" not in guess.note


def test_without_a_calibration_it_says_so(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "none"))
    with pytest.raises(ResourceMissing, match="pintpot devices calibrate"):
        predict(record(step()), store)
