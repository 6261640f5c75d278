"""DoRA starts where the base model stands, has a magnitude per output, and is not LoRA after a step."""

import torch

from workbench.tasks.classification import evaluating
from workbench.testing import Subject

MODEL = "tiny-llama"


def _logits(subject: Subject, model: torch.nn.Module) -> torch.Tensor:
    with evaluating(model):
        return model(input_ids=subject.examples()[0]["input_ids"]).logits


def test_at_the_start_dora_and_lora_are_the_base_model() -> None:
    base = _logits(Subject("full", MODEL), Subject("full", MODEL).attached())
    for name in ("dora", "lora"):
        subject = Subject(name, MODEL)
        torch.testing.assert_close(_logits(subject, subject.attached()), base, rtol=1e-4, atol=1e-4)


def test_it_adds_one_magnitude_per_output_to_lora() -> None:
    count = {n: {k: p.numel() for k, p in Subject(n, MODEL).attached().named_parameters() if p.requires_grad}
             for n in ("dora", "lora")}  # fmt: skip
    added = {k: v for k, v in count["dora"].items() if k not in count["lora"]}
    assert added and all("magnitude" in name for name in added)
    assert set(count["lora"]) < set(count["dora"])


def test_after_steps_it_is_not_lora() -> None:
    tuned = {}
    for name in ("dora", "lora"):
        subject = Subject(name, MODEL)
        model = subject.attached()
        subject.trained(model, 3)
        tuned[name] = _logits(subject, model)
    assert not torch.allclose(tuned["dora"], tuned["lora"], atol=1e-4)
