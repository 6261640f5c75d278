"""One run on fake tensors answers memory and work; telling the recorder changes no byte of the profile."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from workbench import predictions
from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import Tier
from workbench.devices.record import Recorder
from workbench.devices.work import count, work_of
from workbench.memory.predict import trace

CASES = [
    ("tiny-bert", "full", {}),
    ("tiny-bert", "lora", {}),
    ("tiny-bert", "head", {}),
    ("tiny-bert", "mezo", {}),
    ("tiny-bert", "dora", {}),
    ("tiny-bert", "update-in-backward", {}),
    ("tiny-bert", "full", {"recompute": 1}),
    ("tiny-bert", "full", {"saved": "int8"}),
    ("tiny-bert", "full", {"optimizer": "adamw8bit"}),
    ("tiny-cnn", "full", {}),
]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    predictions._recent.clear()


@pytest.mark.parametrize(("model", "method", "settings"), CASES)
def test_the_profile_is_the_same_with_and_without_the_recorder(model, method, settings):
    case = Case("pixels" if model == "tiny-cnn" else "tokens", model, method, 4, settings=settings)
    plain = predictions._shapes_first(case, lambda build: trace(build, case.step, case.example, tier=Tier.FAKE))[0]
    told = predictions.traced(case, Tier.FAKE)
    assert json.dumps(told.profile.to_dict()) == json.dumps(plain.to_dict())
    assert told.recorder.calls and work_of(told.recorder).total_flops > 0


def test_the_work_is_what_a_real_step_does():
    case = Case("tokens", "tiny-bert", "full", 4, 16)
    step, batch = case.step(case.attached(weights=False)), case.example()
    real, told = count(lambda: step(batch), warm=1), work_of(predictions.traced(case, Tier.FAKE).recorder)
    assert told.total_flops == real.total_flops
    assert told.bytes == pytest.approx(real.bytes, rel=0.01)


def test_nothing_of_a_step_is_held_by_its_trace():
    case = Case("tokens", "tiny-bert", "full", 2, 8)
    models = []
    recorder = Recorder()

    def step(model):
        models.append(weakref.ref(model))
        return predictions._Recorded(case.step(model), recorder)

    kept = trace(
        lambda: case.attached(device="meta", weights=False), step, case.example, tier=Tier.FAKE, tell=recorder.heard
    )
    gc.collect()
    assert kept and recorder.calls
    assert models[0]() is None


def test_a_refusal_is_kept_and_costs_nothing_the_second_time(monkeypatch, whimsical):
    case = Case("tokens", "tiny-bert", whimsical, 2, 8)
    with pytest.raises(Incompatible, match="measure it instead") as first:
        case.predict(Tier.FAKE)
    assert first.value.field == "prediction"
    monkeypatch.setattr(predictions, "traced", lambda *_: pytest.fail("traced again"))
    with pytest.raises(Incompatible) as again:
        case.predict(Tier.FAKE)
    assert str(again.value) == str(first.value)


def test_a_folder_whose_config_changed_is_another_model(tmp_path) -> None:
    """A prediction is kept by the model's shape, never by its name alone."""
    import json

    from workbench.models.library import MODELS

    config = {**MODELS["tiny-bert"].config}
    peaks = []
    for layers in (2, 4):
        (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
        peaks.append(Case("tokens", f"path:{tmp_path}", "lora", 2, 8).predict(Tier.FAKE).peak)
    assert peaks[0] < peaks[1]


def test_steps_that_try_other_numbers_leave_the_record_alone(monkeypatch):
    """They run after the step that counts, with the same parts."""
    case = Case("tokens", "tiny-bert", "mezo", 4)
    work = work_of(predictions.traced(case, Tier.FAKE).recorder)
    predictions._recent.clear()
    monkeypatch.setattr("workbench.memory.answers._asker", lambda: "somebody's")
    assert work_of(predictions.traced(case, Tier.FAKE).recorder) == work and work.total_flops
