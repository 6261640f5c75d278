"""A folder with nothing but a transformers configuration: predicted to the byte, or refused in one sentence."""

from __future__ import annotations

import json

import pytest

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.memory import ledger
from workbench.memory.measure import measure
from workbench.models import resolve
from workbench.tasks.base import Sizes

pytestmark = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")

_TEXT = {"vocab_size": 256, "max_position_embeddings": 64, "hidden_size": 32, "num_hidden_layers": 2}
_HEADS = {**_TEXT, "num_attention_heads": 2, "intermediate_size": 64}
_EXPERTS = {"num_key_value_heads": 1, "num_local_experts": 4, "num_experts_per_tok": 2}
_T5 = {"vocab_size": 256, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
_BART = {
    "vocab_size": 256, "max_position_embeddings": 64, "d_model": 32, "encoder_layers": 1, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}

CONFIGURATIONS = {
    "albert": {**_HEADS, "embedding_size": 16},
    "longformer": {**_HEADS, "max_position_embeddings": 66, "attention_window": 8, "pad_token_id": 1},
    "canine": {**_HEADS, "num_hash_buckets": 64, "downsampling_rate": 2, "local_transformer_stride": 8},
    "mixtral": {**_HEADS, **_EXPERTS},
    "llama4_text": {**_HEADS, **_EXPERTS, "head_dim": 16, "intermediate_size_mlp": 64, "pad_token_id": 0},
    "mamba": {**_TEXT, "state_size": 8},
    "t5": _T5,
    "bart": _BART,
    "resnet": {**_STAGES, "embedding_size": 8},
    "swin": {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    "convnext": {**_STAGES, "image_size": 32},
}


def _case(folder, name: str, method: str) -> Case:
    (folder / "config.json").write_text(json.dumps({"model_type": name, **CONFIGURATIONS[name]}))
    model = f"path:{folder}"
    text = resolve(model).modality == "text"
    return Case("tokens" if text else "pixels", model, method, 2, 16 if text else 32)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "full") for name in CONFIGURATIONS),
        *((name, "lora") for name in ("mixtral", "llama4_text", "t5", "albert")),
    ],
)
def test_predicted_equals_measured(tmp_path, name, method):
    case = _case(tmp_path, name, method)
    predicted = case.predict(fresh=True)
    measured = measure(case.step(case.attached(weights=False)), case.example())
    assert (predicted.peak, predicted.by_category) == (measured.peak, measured.by_category)


def test_kinds_come_from_what_transformers_can_do_with_a_type(tmp_path):
    kinds = {"t5": "seq2seq-lm", "mixtral": "causal-lm", "albert": "text-encoder", "resnet": "image-classifier"}
    for name, kind in kinds.items():
        assert _case(tmp_path, name, "full").spec.kind == kind
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertLMHeadModel"]}))
    assert resolve(f"path:{tmp_path}").kind == "causal-lm"


def test_a_decoder_is_given_its_labels_one_place_later(tmp_path):
    case = _case(tmp_path, "t5", "full")
    (batch,) = case.example()
    assert batch["decoder_input_ids"][:, 1:].equal(batch["labels"][:, :-1])
    made = case.task.collate(case.task.load(case.spec, Sizes(train=4, test=4, length=16), 0).train[:2], case.spec)
    assert made["decoder_input_ids"][:, 1:].equal(made["labels"][:, :-1]) and made.keys() == batch.keys()


def test_positions_are_those_behind_the_row_for_padding(tmp_path):
    assert _case(tmp_path, "longformer", "full").spec.shape == (64,)
    with pytest.raises(BadInput, match="4 to 64 tokens"):
        Case("tokens", f"path:{tmp_path}", "full", 2, 65).predict()


def test_what_is_not_served_is_said(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(BadInput, match="sound"):
        resolve(f"path:{tmp_path}")
    with pytest.raises(Incompatible, match="fresh head"):
        _case(tmp_path, "t5", "head").predict()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "nemotron", **_HEADS}, "a configuration that says num_key_value_heads, which nemotron has no"),
        ({"model_type": "efficientnet", "width_coefficient": 0.2}, "hidden_dim is unsaid, which makes it 2560"),
    ],
)
def test_a_configuration_that_lacks_a_field_says_which(tmp_path, config, words):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput) as refused:
        resolve(f"path:{tmp_path}")
    assert words in str(refused.value) and "Error" not in str(refused.value)
