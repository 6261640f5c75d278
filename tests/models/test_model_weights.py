"""Pretrained weights arrive unchanged: known outputs of each real model."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from workbench.models import resolve

pytestmark = pytest.mark.assets


def test_minilm_knows_which_sentences_are_alike(pulled):
    pulled("minilm")
    spec = resolve("minilm")
    model, tokenizer = spec.build(2).eval(), spec.tokenizer()
    model.classifier = torch.nn.Identity()
    texts = ["A man is eating food.", "Someone is having a meal.", "The stock market fell sharply on Monday."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        pooled = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert float(cosine_similarity(pooled[0], pooled[1], 0)) == pytest.approx(0.689, abs=2e-3)
    assert abs(float(cosine_similarity(pooled[0], pooled[2], 0))) < 0.1


def test_smollm2_answers(pulled):
    pulled("smollm2")
    spec = resolve("smollm2")
    model, tokenizer = spec.build(None).eval(), spec.tokenizer()
    assert next(model.parameters()).dtype == torch.float32
    assert model.lm_head.weight is model.get_input_embeddings().weight
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=True)
    assert "Paris" in tokenizer.decode(written[0])


def test_every_tensor_of_efficientnet_is_used(pulled):
    from safetensors.torch import load_file

    from workbench.models.efficientnet_lite import from_released_names

    state = load_file(pulled("efficientnet-lite0") / "model.safetensors")
    model = resolve("efficientnet-lite0").build(1000).eval()
    assert len(state) == 296 and set(from_released_names(state)) == set(model.state_dict())
    for name, value in from_released_names(state).items():
        assert torch.equal(model.state_dict()[name], value), name
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}
    with torch.no_grad():
        torch.manual_seed(0)
        logits = model(torch.rand(1, 3, 96, 96)).logits
    assert logits.shape == (1, 1000) and logits.std() > 0.1


def test_a_new_head_keeps_the_pretrained_body(pulled):
    pulled("efficientnet-lite0")
    spec = resolve("efficientnet-lite0")
    full, ten, other = spec.build(1000), spec.build(10, seed=1), spec.build(10, seed=2)
    assert torch.equal(full.head_conv.weight, ten.head_conv.weight)
    assert ten.classifier.out_features == 10 and not torch.equal(ten.classifier.weight, other.classifier.weight)


def test_weights_do_not_live_in_a_mapped_file(pulled):
    from safetensors import safe_open

    folder = pulled("minilm")
    model = resolve("minilm").build(2)
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        expected = stored.get_tensor("embeddings.word_embeddings.weight")
    weight = model.encoder.embeddings.word_embeddings.weight
    assert torch.equal(weight, expected)
    storage = weight.untyped_storage()
    assert storage.nbytes() == weight.numel() * 4 and storage.filename is None


@pytest.mark.slow
def test_dinov2_backbone_matches_every_key(pulled):
    pulled("dinov2-small", accept=True)
    spec = resolve("dinov2-small")
    model = spec.build(10).eval()
    with torch.no_grad():
        assert model(torch.rand(1, *spec.shape)).logits.isfinite().all()
