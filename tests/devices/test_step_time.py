"""The probe in order: what is recorded, what is replayed, and that predictions follow the work."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.core.errors import ResourceMissing
from workbench.devices.pace import pace
from workbench.devices.record import CLASSES, record
from workbench.devices.replay import (
    PHASES,
    compiled,
    in_units_of_pace,
    replay,
    replay_apart,
    stand_ins,
    timed,
    with_state,
)
from workbench.devices.step_time import predict, predict_step_time, relative_time

FREE = dict.fromkeys(CLASSES, 0.0)


class Block(nn.Module):
    """A module that is none of torch's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


def step(width: int = 64, batch: int = 8):
    model = nn.Sequential(nn.Embedding(50, width), Block(width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids, labels = torch.full((batch,), 49), torch.zeros(batch, dtype=torch.long)

    def run() -> None:
        nn.functional.cross_entropy(model(ids), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def test_phases_modules_and_parameters_are_counted() -> None:
    recorder = record(step())
    assert {call.phase for call in recorder.calls} == {"forward", "backward", "update"}
    assert recorder.counts["forward", "module"] == 6
    assert recorder.counts["forward", "block"] == 1
    assert recorder.counts["update", "update"] == recorder.counts["update", "step"] == 1
    assert recorder.counts["update", "parameter"] == 5


def test_the_program_makes_the_calls_of_the_step_in_their_order() -> None:
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace != "profiler":
                seen.append((func.name(), [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]))
            return func(*args, **(kwargs or {}))

    run = step()
    program = record(run).tape.program
    with Watch():
        run()
    real, seen[:] = list(seen), []
    with torch.no_grad():
        given = stand_ins(program)
        call, failed, _ = compiled(program, given)
        with Watch():
            call(given, lambda phase: None)
    assert failed == []
    assert seen == real


def test_memory_is_given_back_where_the_step_gives_it_back() -> None:
    """The live bytes of the program peak where those of the step do: nothing is kept longer, nothing is shorter."""
    big = torch.ones(1 << 20)

    def run() -> None:
        for _ in range(5):
            _ = (big + 1) * 2

    program = record(run).tape.program
    assert sum(line.text.startswith("del ") for line in program.lines) >= 8
    assert program.peak <= 4 * big.numel() * 4


def test_numbers_that_steer_the_step_are_kept() -> None:
    (ids,) = [g for g in record(step()).tape.program.given if g.values is not None and 49 in g.values]
    assert ids.values.tolist() == [49] * 8


def test_tensors_on_one_storage_stand_on_one_storage() -> None:
    weight = torch.ones(6, 4)
    top = weight[:3]
    program = record(lambda: torch.mm(top, weight.t())).tape.program
    made = stand_ins(program)
    assert len({t.untyped_storage()._cdata for t in made}) == 1


def test_state_is_put_where_a_first_update_gets_it() -> None:
    """Its memory is taken when the update begins and not before, so gradients lie below it; the rest stays."""
    program = record(step()).tape.program
    given, began = stand_ins(program), []

    def run(tensors, mark) -> None:
        def marking(phase: str) -> None:
            began.append(phase)
            mark(phase)

        compiled(program, given)[0](tensors, marking)

    moved = with_state(program, run, given)
    assert began[-1] == "update"
    pairs = list(zip(program.given, given, moved, strict=True))
    state = [(old, new) for one, old, new in pairs if one.state]
    assert len(state) >= 10, "two moments of each of five parameters"
    assert all(old.data_ptr() != new.data_ptr() and old.shape == new.shape for old, new in state)
    assert all(old is new for one, old, new in pairs if not one.state)


def test_fake_recording_gives_the_same_program_as_a_real_one() -> None:
    real = record(step())
    with FakeTensorMode():
        fake = record(step())
    assert [line.text for line in fake.tape.program.lines] == [line.text for line in real.tape.program.lines]
    assert fake.counts == real.counts


def test_a_program_survives_the_way_to_another_process() -> None:
    program = record(step()).tape.program
    assert pickle.loads(pickle.dumps(program)).source == program.source
    found = replay_apart(program, 0.05)
    assert found["failed"] == []
    assert all(found["phases"][phase] > 0 for phase in PHASES)


def test_a_call_that_cannot_be_made_is_named_and_leaves_its_result() -> None:
    matrix, dense = torch.eye(8).to_sparse(), torch.ones(8, 4)
    recorder = record(lambda: torch.sparse.mm(matrix, dense) + 1)
    assert sum(n * call.bytes for call, n in recorder.calls.items()) >= 4 * (8 * 4 + 8 * 4) + 8 * (2 * 8 + 4)
    found = replay(recorder.tape.program, 0.01)
    assert any("mm" in name for name in found["failed"])
    assert found["moved"] > 0
    assert found["phases"]["forward"] > 0
    _, note = relative_time(recorder, FREE)
    assert "mm" in note.partition("not timed")[2]


def test_a_step_larger_than_the_free_memory_is_refused_before_anything_runs(monkeypatch) -> None:
    program = record(step()).tape.program
    program.peak = 1 << 50
    with pytest.raises(ResourceMissing, match="cannot be timed"):
        replay_apart(program)


def test_time_of_a_phase_goes_to_that_phase(monkeypatch) -> None:
    ticks = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr("workbench.devices.replay.step_clock", lambda: lambda: next(ticks))

    def run(given, mark) -> None:
        for phase in PHASES:
            mark(phase)

    assert timed(run, []) == {"forward": 1.0, "backward": 2.0, "update": 4.0}


def test_timings_follow_the_pace_and_not_the_clock(monkeypatch) -> None:
    """A host twice as slow in all it does gives the same timings in units of its pace."""
    found = []
    for slower in (1, 2):
        monkeypatch.setattr("workbench.devices.replay.pace", lambda repeats, s=slower: 1e-3 * s)
        found.append(in_units_of_pace(lambda s=slower: {"step": 3e-3 * s}, 0.003)[0]["step"])
    assert found == pytest.approx([3.0, 3.0])


def test_pace_is_seconds_of_real_work() -> None:
    assert 1e-3 < pace(3) < 1.0


def test_costs_per_call_are_added(monkeypatch) -> None:
    found = {"phases": {"forward": 2.0}, "failed": [], "moved": 0}
    monkeypatch.setattr("workbench.devices.step_time.replay_apart", lambda program: found)
    recorder = record(step())
    dear, _ = relative_time(recorder, {**FREE, "module": 1.0, "view": 1e-3})
    views = sum(n for (_, name), n in recorder.counts.items() if name == "view")
    assert dear == pytest.approx(2.0 + 6 + views * 1e-3)


def test_prediction_follows_the_work() -> None:
    small = predict(record(step(64, 8)), FREE)
    large = predict(record(step(512, 512)), FREE)
    assert small.kind == "predicted"
    assert large.value > 5 * small.value


def test_inside_fake_mode_nothing_of_the_model_is_computed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    monkeypatch.setattr("workbench.devices.step_time.overheads", lambda: FREE)
    with FakeTensorMode():
        guess = predict_step_time(step())
    assert guess.value > 0
    assert "not timed" not in guess.note


def test_without_a_calibration_it_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "none"))
    with pytest.raises(ResourceMissing, match="pintpot devices calibrate"):
        predict(record(step()))
