"""The text classifier serves peft's prompt methods, which feed embeddings and longer masks."""

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

from workbench.models import resolve

PROMPTS = [
    PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4),
    PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=4, encoder_hidden_size=16),
    PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4),
    LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"]),
]


@pytest.mark.parametrize("config", PROMPTS, ids=lambda c: type(c).__name__)
def test_text_classifier_trains_under_peft(config):
    model = get_peft_model(resolve("tiny-bert").build(3), config)
    ids = torch.randint(4, 100, (2, 8))
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0, 2]))
    assert out.logits.shape == (2, 3)
    out.loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)


def test_lora_does_not_make_the_embeddings_require_gradients():
    model = get_peft_model(resolve("tiny-bert").build(3), PROMPTS[-1])
    embedded = model.base_model.model.get_input_embeddings()(torch.randint(4, 100, (1, 4)))
    assert not embedded.requires_grad
