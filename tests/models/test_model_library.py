"""Models by name: torch-free listing, fast meta builds, honest counts, clear refusals."""

import json

import pytest
import torch

from workbench.core.errors import BadInput, ResourceMissing, UnknownName
from workbench.models import INPUT_NAMES, models, resolve
from workbench.models.structure import blocks, head

NAMES = sorted(models())
TRAINABLE_TINY = [n for n in NAMES if n.startswith("tiny-")]


def classes_of(spec):
    return None if spec.kind == "causal-lm" else 5


def batch_of(spec, size=2, length=12):
    if spec.modality == "text":
        ids = torch.randint(4, 100, (size, length))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    pictures = {"pixel_values": torch.randn(size, *spec.shape)}
    if spec.kind == "image-denoiser":
        return {**pictures, "noise": torch.randn(size, *spec.shape), "levels": torch.rand(size),
                "tokens": torch.arange(size)}  # fmt: skip
    return pictures


@pytest.mark.parametrize("name", NAMES)
def test_meta_build_reads_no_weights_and_counts_as_stated(name, monkeypatch, tmp_path):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    monkeypatch.setenv("PINTPOT_OFFLINE", "1")
    spec = resolve(name)
    model = spec.build(classes_of(spec), device="meta")
    assert all(p.is_meta for p in model.parameters())
    total = sum(p.numel() for p in model.parameters())
    made_for_task = getattr(model, "classifier", None) or getattr(model, "tokens", None)
    own_head = 0 if spec.kind == "causal-lm" else sum(p.numel() for p in made_for_task.parameters())
    assert total - own_head == spec.parameters
    assert len(blocks(model)) >= 3 and (head(model) is not None or spec.kind == "image-denoiser")


def test_seven_and_seventy_billion_are_bf16_shapes():
    for name, parameters in (("llama-2-7b", 6_738_415_616), ("llama-3-70b", 70_553_706_496)):
        model = resolve(name).build(None, device="meta")
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        assert sum(p.numel() for p in model.parameters()) == parameters
        with pytest.raises(ResourceMissing, match="shapes only"):
            resolve(name).build(None)
        with pytest.raises(ResourceMissing, match="tokenizer"):
            resolve(name).tokenizer()


@pytest.mark.parametrize("name", TRAINABLE_TINY)
def test_tiny_models_are_a_function_of_the_seed(name):
    spec = resolve(name)
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    first, same, other = (spec.build(classes_of(spec), seed=s) for s in (7, 7, 8))
    assert torch.equal(before, torch.random.get_rng_state()), "building must leave the caller's random stream alone"
    states = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (first, same, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@pytest.mark.parametrize("name", TRAINABLE_TINY)
def test_tiny_models_forward_and_train(name):
    spec = resolve(name)
    model = spec.build(classes_of(spec))
    batch = batch_of(spec)
    assert tuple(batch) == INPUT_NAMES[spec.kind]
    logits = model(**batch).logits
    expected = {"causal-lm": (2, 12, 2048), "image-denoiser": (2, *spec.shape)}
    assert logits.shape == expected.get(spec.kind, (2, 5))
    logits.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_meta_and_real_builds_have_the_same_tensors():
    for name in TRAINABLE_TINY:
        spec = resolve(name)
        meta, real = (
            [(n, t.shape, t.dtype) for n, t in spec.build(classes_of(spec), device=d).state_dict().items()]
            for d in ("meta", "cpu")
        )
        assert meta == real


def test_padding_does_not_change_the_class_scores():
    spec = resolve("tiny-bert")
    model = spec.build(3).eval()
    ids = torch.randint(4, 100, (2, 6))
    padded = torch.cat([ids, torch.zeros(2, 5, dtype=torch.int64)], 1)
    mask = (torch.arange(11) < 6).long().expand(2, -1)
    with torch.no_grad():
        short = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        long = model(input_ids=padded, attention_mask=mask).logits
        embedded = model(inputs_embeds=model.get_input_embeddings()(padded), attention_mask=mask).logits
    torch.testing.assert_close(short, long)
    torch.testing.assert_close(long, embedded)


def test_language_model_head_is_tied_and_cache_is_off():
    model = resolve("tiny-llama").build(None)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.config.use_cache is False


def test_bad_requests_are_refused():
    with pytest.raises(UnknownName, match="minilm"):
        resolve("minilmm")
    with pytest.raises(BadInput, match="number of classes"):
        resolve("tiny-bert").build(None)
    with pytest.raises(BadInput, match="positive number"):
        resolve("tiny-bert").build(0)
    with pytest.raises(BadInput, match="text model"):
        resolve("tiny-cnn").tokenizer()


def test_tiny_tokenizer_round_trip_chat_and_special_ids():
    tokenizer = resolve("tiny-llama").tokenizer()
    text = "def f(x):\n    return {'a': [1, 2.5, None]}  # naïve ∑"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert len(tokenizer) == 2048
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<turn>user\nhi</s>\n<turn>assistant\n"


class TestFolder:
    def make(self, tmp_path, **changes):
        config = {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32,
            "max_position_embeddings": 64,
        }  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        return f"path:{tmp_path}"

    def test_a_configuration_alone_is_enough(self, tmp_path):
        spec = resolve(self.make(tmp_path))
        assert (spec.kind, spec.shape, spec.asset) == ("causal-lm", (64,), "")
        model = spec.build(None, seed=1)
        assert sum(p.numel() for p in model.parameters()) == spec.parameters > 0

    def test_its_weights_are_used(self, tmp_path):
        spec = resolve(self.make(tmp_path, tie_word_embeddings=True))
        source = spec.build(None, seed=5)
        source.save_pretrained(tmp_path)
        again = resolve(f"path:{tmp_path}").build(None, seed=6)
        for name, value in source.state_dict().items():
            torch.testing.assert_close(again.state_dict()[name], value)

    def test_weights_without_a_tokenizer_are_said_to_lack_one(self, tmp_path):
        """transformers would make up an empty one, to which every word is unknown."""
        place = self.make(tmp_path)
        resolve(place).build(None).save_pretrained(tmp_path)
        with pytest.raises(ResourceMissing, match="holds weights but no tokenizer"):
            resolve(place).tokenizer()

    def test_a_vocabulary_too_small_for_the_tokenizer_is_refused(self, tmp_path):
        with pytest.raises(BadInput, match="vocab_size of at least 2048"):
            resolve(self.make(tmp_path)).tokenizer()
        assert len(resolve(self.make(tmp_path, vocab_size=2048)).tokenizer()) == 2048

    def test_damaged_weights_are_named(self, tmp_path):
        place = self.make(tmp_path)
        resolve(place).build(None).save_pretrained(tmp_path)
        weights = tmp_path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-50])
        with pytest.raises(BadInput, match=r"model\.safetensors cannot be read"):
            resolve(place).build(None)

    def test_weights_of_another_shape_are_refused(self, tmp_path):
        place = self.make(tmp_path)
        resolve(place).build(None).save_pretrained(tmp_path)
        self.make(tmp_path, hidden_size=32)
        with pytest.raises(BadInput, match="fit the configuration"):
            resolve(place).build(None)

    def test_pickles_and_remote_code_are_refused(self, tmp_path):
        place = self.make(tmp_path)
        (tmp_path / "pytorch_model.bin").write_bytes(b"x")
        with pytest.raises(BadInput, match="pickle"):
            resolve(place)
        (tmp_path / "pytorch_model.bin").unlink()
        with pytest.raises(BadInput, match="no code of its own"):
            resolve(self.make(tmp_path, model_type="mine", auto_map={"AutoModel": "mine.Mine"}))

    @pytest.mark.parametrize("changes", [{"model_type": "nosuch"}, {"hidden_size": "x"}, {"num_attention_heads": 0}])
    def test_unusable_configurations_are_refused(self, tmp_path, changes):
        with pytest.raises(BadInput, match="path:"):
            resolve(self.make(tmp_path, **changes))

    def test_missing_and_broken_files(self, tmp_path):
        with pytest.raises(BadInput, match=r"config\.json"):
            resolve(f"path:{tmp_path}/nowhere")
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(BadInput, match=r"readable config\.json"):
            resolve(f"path:{tmp_path}")

    def test_encoder_and_vision_kinds(self, tmp_path):
        bert = self.make(tmp_path, model_type="bert", architectures=["BertModel"])
        assert resolve(bert).kind == "text-encoder"
        vit = self.make(tmp_path, model_type="vit", architectures=["ViTModel"], image_size=32, patch_size=8)
        spec = resolve(vit)
        assert (spec.kind, spec.shape) == ("image-classifier", (3, 32, 32))
        assert spec.build(4)(pixel_values=torch.randn(1, 3, 32, 32)).logits.shape == (1, 4)


def test_hub_without_network_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PINTPOT_OFFLINE", "1")
    with pytest.raises(ResourceMissing, match="path:DIR"):
        resolve("hub:nobody/nothing-here")
    with pytest.raises(BadInput, match="OWNER/NAME"):
        resolve("hub:a/b/c/d")
