"""Every tuner that peft registers is here with peft's own defaults, and LoRA is peft's LoRA."""

from __future__ import annotations

import dataclasses
import enum

import pytest
import torch

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.methods._peft_source import tuners
from workbench.methods.base import methods
from workbench.methods.peft_tuners import PeftMethod
from workbench.testing import Subject

READ = {t.name: t for t in tuners()}


def test_every_registered_tuner_is_read_and_nothing_else() -> None:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    registered = {kind.value.lower(): config.__name__ for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    assert {t.name: t.config for t in READ.values()} == registered
    assert {n.replace("_", "-") for n in registered} <= set(methods.names())


@pytest.mark.parametrize("name", sorted(READ))
def test_defaults_read_from_source_are_the_dataclass_defaults(name: str) -> None:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.utils import PeftType

    fields = {f.name: f for f in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[PeftType[name.upper()]])}
    for read in READ[name].fields:
        real = fields[read.name].default
        real = real.value if isinstance(real, enum.Enum) else real
        if real is dataclasses.MISSING:
            assert fields[read.name].default_factory is not dataclasses.MISSING, read.name
            continue
        assert read.default == real, f"{name}.{read.name}"


def test_lora_is_peft_used_directly() -> None:
    from peft import LoraConfig, get_peft_model

    subject = Subject("lora", "tiny-llama", {"r": 4, "lora_alpha": 8})
    ours = subject.attached()
    subject.trained(ours, 3)
    base = Subject("full", "tiny-llama").attached()
    theirs = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM"))
    for (name, target), source in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        if "lora_" in name:
            target.data.copy_(source.data)
    ids = subject.examples()[0]["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(ids).logits, ours.eval()(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["lora", "vera", "boft"])
def test_the_fresh_head_trains_beside_the_adapter(name: str) -> None:
    trained = [n for n, p in Subject(name, "tiny-bert").attached().named_parameters() if p.requires_grad]
    assert any("classifier" in n and n.endswith("weight") for n in trained)


def test_a_setting_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(BadInput, match=r"lora\.r"):
        methods.get("lora").configure(r="eight")


def test_the_saved_adapter_is_small() -> None:
    subject = Subject("lora", "tiny-bert")
    model = subject.attached()
    state = subject.method.adapter_state(model)
    assert sum(t.numel() for t in state.values()) < 0.1 * sum(p.numel() for p in model.parameters())


def test_an_adapter_of_another_shape_is_refused() -> None:
    subject = Subject("lora", "tiny-bert")
    with pytest.raises(BadInput, match="adapter"):
        subject.method.load_adapter(subject.attached(), {"no.such.tensor": torch.zeros(1)})


def test_every_card_names_a_tuner_that_exists() -> None:
    from workbench.methods.peft_tuners import _CARDS

    assert set(_CARDS) <= set(READ)
    assert all(isinstance(methods.get(n.replace("_", "-")), PeftMethod) for n in READ)


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("c3a", "(block_size is 96, which --set block_size=VALUE changes)"),
        ("vblora", "(vector_length is 256, which --set vector_length=VALUE changes)"),
    ],
)
def test_a_refusal_that_a_setting_cures_names_the_setting(method, hint):
    case = Case("tokens", "tiny-bert", method, 2, 8)
    with pytest.raises(Incompatible) as refused:
        case.attached(weights=False)
    assert refused.value.reason.endswith(hint)
