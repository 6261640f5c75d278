"""An adapter goes out and comes back to the same numbers, and peft reads what it is shown; nothing else comes in."""

from __future__ import annotations

import json

import pytest
import torch

from workbench.adapters import read, save
from workbench.adapters.folder import OURS, PEFTS, TENSORS
from workbench.case import Case
from workbench.core.errors import BadInput, ManyBadInputs

CASE = Case("docstring-topic", "tiny-bert", "lora", 2, 8, settings={"r": 2})


@pytest.fixture
def written(tmp_path):
    model = CASE.attached(seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.25)
    return model, save(CASE, model, tmp_path / "adapter")


@pytest.mark.parametrize("description", [OURS, PEFTS])
def test_it_comes_back_to_the_bit(written, description):
    model, folder = written
    if description == PEFTS:
        (folder / OURS).unlink()
    found = read(folder)
    assert found.method == "lora" and found.settings["r"] == 2
    fresh = CASE.attached(seed=2)
    found.load_into(CASE, fresh)
    state = CASE.method.adapter_state(model)
    assert all(torch.equal(t, state[n]) for n, t in CASE.method.adapter_state(fresh).items())


def test_peft_itself_reads_the_description(written):
    from peft import PeftConfig

    assert PeftConfig.from_pretrained(str(written[1])).r == 2


def test_names_shapes_and_numbers_are_checked_before_anything_is_copied(written):
    from safetensors.torch import load_file, save_file

    _, folder = written
    (folder / OURS).unlink()
    good = load_file(folder / TENSORS)
    first = next(iter(good))
    for bad, said in (
        ({**good, first: torch.full_like(good[first], float("nan"))}, "finite"),
        ({**good, first: torch.zeros(3)}, "shape"),
        ({n: t for n, t in good.items() if n != first}, "missing"),
        ({**good, "more": torch.zeros(1)}, "unknown"),
    ):
        save_file(bad, folder / TENSORS)
        model = CASE.attached(seed=2)
        before = {n: t.clone() for n, t in CASE.method.adapter_state(model).items()}
        with pytest.raises(BadInput, match=said):
            read(folder).load_into(CASE, model)
        assert all(torch.equal(t, before[n]) for n, t in CASE.method.adapter_state(model).items())


def test_changed_tensors_are_noticed(written):
    _, folder = written
    content = bytearray((folder / TENSORS).read_bytes())
    content[-3] ^= 1
    (folder / TENSORS).write_bytes(content)
    with pytest.raises(BadInput, match="changed"):
        read(folder).load_into(CASE, CASE.attached())


def test_every_problem_of_a_description_is_said_at_once(tmp_path):
    (tmp_path / PEFTS).write_text(json.dumps({"peft_type": "LORA", "r": 10**9, "target_modules": ".*", "evil": 1}))
    with pytest.raises(ManyBadInputs) as caught:
        read(tmp_path)
    assert all(word in str(caught.value) for word in ("adapter.r", "target_modules", "evil"))


def test_an_adapter_is_never_written_over(written):
    with pytest.raises(BadInput):
        save(CASE, written[0], written[1])
