"""What `pintpot measure` says beside its two profiles, and what it keeps."""

from __future__ import annotations

import json

import pytest

from workbench.case import Case
from workbench.memory import ledger
from workbench.records.measurements import compared

pytestmark = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")
WORDS = ("measure", "--model", "tiny-bert", "--method", "head", "--batch", "2", "--length", "8")


def test_accumulation_is_spelled_out_and_the_pair_is_kept(pintpot):
    outcome = pintpot(*WORDS, "--accumulate", "2")
    assert outcome.code == 0, outcome.err
    assert "batch 2, 2 micro-batches a step" in outcome.out
    assert "Predicted minus measured: +0 bytes." in outcome.err
    (record,) = compared()
    assert (record.model, record.batch, record.accumulate, record.peak_error) == ("tiny-bert", 2, 2, 0.0)


def test_a_prediction_without_the_probe_is_not_compared_to_the_byte(pintpot):
    data = json.loads(pintpot(*WORDS, "--tier", "fake", "--json").out)
    assert data["comparable"] is False and data["remarks"] == []
    assert "need not agree to the byte" in pintpot(*WORDS, "--tier", "fake").err
    assert compared() == []


def test_a_pair_that_cannot_be_kept_is_said_once(pintpot, folders, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", "/dev/null")
    outcome = pintpot(*WORDS, "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["difference"] == 0
    assert outcome.err == "not kept: /dev/null is not a folder\n"
    assert "not kept" not in pintpot(*WORDS, "--tier", "fake").err, "it need not agree to the byte"


def test_a_later_step_that_takes_more_stands_in_the_difference_and_the_remarks(pintpot, monkeypatch):
    import torch

    from workbench.parts.base import TrainingStep

    calls, plain = [], TrainingStep.__call__

    def growing(self, batch):
        calls.append(1)
        if len(calls) > 4:  # two fake steps, then the third real one
            self.model.more = [torch.zeros(10**6)]
        return plain(self, batch)

    monkeypatch.setattr(TrainingStep, "__call__", growing)
    words = (*WORDS[:-1], "9")  # a length that no other test has predicted: its fake steps are counted above
    data = json.loads(pintpot(*words, "--json").out)
    assert data["difference"] <= -4 * 10**6 and "steps differ" in data["remarks"][0]


def test_a_step_that_fails_on_a_shape_is_said_in_a_sentence(pintpot, folders):
    folder = folders.root / "model"
    folder.mkdir()
    sizes = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
    config = {"model_type": "swin", "image_size": 64, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    outcome = pintpot("measure", "--model", f"path:{folder}", "--batch", "1", "--length", "20")
    assert outcome.code == 2 and "its step fails on this model and shape" in outcome.err


def test_each_side_says_once_what_it_is(pintpot):
    outcome = pintpot("measure", "--model", "tiny-bert", "--method", "head", "--batch", "2", "--length", "8")
    assert "predicted: fake tensors" in outcome.out + outcome.err
    assert "predicted: predicted" not in outcome.out + outcome.err and "measured: measured" not in outcome.out


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama"])
def test_padded_examples_are_another_case_and_predicted_to_the_byte(pintpot, model):
    words = ("measure", "--model", model, "--method", "bias" if model == "tiny-bert" else "lora", "--batch", "3")
    whole, padded = (json.loads(pintpot(*words, "--length", "12", *more, "--json").out) for more in ((), ("--padded",)))
    assert whole["difference"] == padded["difference"] == 0
    assert padded["case"] == {**whole["case"], "padded": True}
    assert "padded examples" in padded["predicted"]["assumptions"]
    assert "no padding" in whole["predicted"]["assumptions"]
    one, other = sorted(compared(), key=lambda record: record.config.get("padded", False))
    assert not one.config.get("padded") and other.config["padded"] is True


def test_padded_examples_end_early_and_pictures_have_no_padding(pintpot):
    (batch,) = Case("tokens", "tiny-bert", "full", 5, 12, padded=True).example()
    assert batch["attention_mask"].sum(1).tolist() == [6, 3, 1, 1, 1]
    outcome = pintpot("predict", "--model", "tiny-cnn", "--padded")
    assert outcome.code == 2 and "padded: True cannot be used here: tiny-cnn reads no texts" in outcome.err
