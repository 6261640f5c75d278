"""Virtual tokens take positions of the model: where a table of them ends, the length that is too much is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workbench.case import Case
from workbench.core.profile import Tier
from workbench.devices.model import HOST, get
from workbench.memory.measure import measure
from workbench.models import models
from workbench.models.folder import has_position_table
from workbench.plan.fit_table import fit, fit_table


def test_the_longest_example_beside_virtual_tokens_trains_and_is_predicted() -> None:
    case = Case("tokens", "tiny-bert", "prompt-tuning", 2, 120)
    assert case.predict().peak == measure(case.step(case.attached(weights=False)), case.example()).peak
    [verdict] = fit([replace(case, length=121)], get(HOST), 2**30)
    assert verdict.fits == "does not apply" and "at most 120 of the model's 128" in verdict.reason


def test_a_table_of_fits_answers_no_length_that_virtual_tokens_leave_no_positions_for() -> None:
    cases = [Case("tokens", "tiny-bert", method, 2, 16) for method in ("prompt-tuning", "bias")]
    table = fit_table(cases, get(HOST), tier=Tier.FAKE)
    for length, answered in ((120, True), (121, False)):
        lines = {line.method: line for line in table.at(2**30, 2, length)}
        assert (lines["prompt-tuning"].peak is not None) is answered and lines["bias"].peak is not None
    assert {method: sizes.longest for method, sizes in table.methods.items()} == {"prompt-tuning": 120, "bias": None}


def test_shipped_models_say_whether_they_look_positions_up() -> None:
    for name, spec in models().items():
        if spec.modality == "text" and not spec.cost_only:
            built = spec.build(None if spec.writes else 2, device="meta", weights=False)
            assert spec.position_table is has_position_table(built), name


def test_rotated_positions_do_not_end() -> None:
    case = Case("tokens", "tiny-llama", "prompt-tuning", 1, 512)
    assert case.refusal() is None and case.predict(Tier.FAKE).peak > 0


def test_more_virtual_tokens_than_positions_are_what_is_wrong_at_any_length() -> None:
    refused = Case("tokens", "tiny-bert", "p-tuning", 1, settings={"num_virtual_tokens": 125}).refused()
    assert refused is not None and refused.field == "num_virtual_tokens"


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning", "cartridge", "adaption-prompt"])
def test_what_is_refused_for_want_of_positions_is_what_fails_there(method: str, tmp_path) -> None:
    """Without values a look-up past the end goes unseen, so that such a step once had a prediction."""
    config = {"model_type": "gpt2", "vocab_size": 64, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    (tmp_path / "config.json").write_text(json.dumps({**config, "bos_token_id": 0, "eos_token_id": 0}))
    short, whole = (Case("tokens", f"path:{tmp_path}", method, 1, length) for length in (24, 32))
    step = short.step(short.attached(weights=False))
    step(short.example())
    if method == "adaption-prompt":  # its prompts stand in the attention of a few layers, at no position
        assert whole.refused() is None
        step(whole.example())
        return
    assert short.refused() is None and whole.refused() is not None
    with pytest.raises(IndexError):
        step(whole.example())
