"""Forgetting is asked of the tuned model itself: one that is damaged scores lower, one that is untouched the same."""

from __future__ import annotations

import pytest
import torch

import workbench as wb
from workbench.core.errors import Incompatible
from workbench.probes.held_out import held_out
from workbench.testing import Subject


def test_a_language_model_is_scored_as_it_is() -> None:
    case = wb.open("tokens", "tiny-llama", budget="1GiB", batch=2, length=32).case("s2ft")
    model = case.attached()
    first = held_out(case, model, "python-code")
    assert first["name"] == "bits per byte" and first["lower_is_better"]
    assert first["value"] == pytest.approx(first["before"], rel=1e-4)  # a co-permutation forgets nothing
    with torch.no_grad():
        model.model.norm.weight.mul_(30.0)
    assert held_out(case, model, "python-code")["value"] > 1.2 * first["before"]


def test_features_of_an_encoder_are_asked_by_a_linear_probe() -> None:
    from workbench.probes.held_out import scored

    subject = Subject("full", "tiny-vit")
    model = subject.attached()
    first, again = (scored(model, subject.case.spec, "digits") for _ in range(2))
    assert first == again and 0.3 < first.value <= 1 and first.count == 400
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    assert scored(model, subject.case.spec, "digits").value < 0.2


def test_a_run_keeps_what_tuning_forgot(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path))
    bench = wb.open("pixels", "tiny-vit", budget="1GiB", batch=8, train=16, test=8, epochs=1, held_out="digits")
    record = bench.run("s2ft")
    again = bench.store.get(record.id)
    assert again.held_out == record.held_out
    assert bench.run_command("s2ft").endswith("--held-out digits") and "held_out='digits'" in bench.run_python("s2ft")
    assert record.held_out["task"] == "digits" and record.held_out["before"] > 0.3
    plain = wb.open("pixels", "tiny-vit", budget="1GiB", batch=8, train=16, test=8, epochs=1).run("s2ft")
    assert plain.id != record.id and not plain.held_out
    with pytest.raises(Incompatible, match="tuned on"):
        wb.open("digits", "tiny-vit", held_out="digits")
    with pytest.raises(Incompatible, match="trains"):
        wb.open("digits", "tiny-vit", held_out="python-code")
