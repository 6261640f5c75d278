"""The next-token loss counts what it says, and bits per byte are what they are called."""

import math

import pytest
import torch

from workbench.models import resolve
from workbench.tasks import Sizes, tasks
from workbench.tasks.language import IGNORED, next_token_loss


def test_loss_equals_the_models_own():
    model = resolve("tiny-llama").build(None).eval()
    ids = torch.randint(4, 2048, (2, 16))
    labels = ids.clone()
    labels[:, :9] = IGNORED
    expected = model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(next_token_loss(model, {"input_ids": ids, "labels": labels}), expected)


def test_right_padding_changes_neither_loss_nor_needs_a_mask():
    model = resolve("tiny-llama").build(None).eval()
    ids = torch.randint(4, 2048, (2, 10))
    padded = torch.cat([ids, torch.zeros(2, 6, dtype=torch.int64)], 1)
    labels = torch.cat([ids, torch.full((2, 6), IGNORED)], 1)
    short = next_token_loss(model, {"input_ids": ids, "labels": ids})
    long = next_token_loss(model, {"input_ids": padded, "labels": labels})
    torch.testing.assert_close(short, long)


def test_masked_labels_get_no_gradient():
    model = resolve("tiny-llama").build(None)
    ids = torch.randint(4, 2048, (1, 8))
    labels = torch.full_like(ids, IGNORED)
    labels[0, 3] = ids[0, 3]
    logits = []
    model.lm_head.register_forward_hook(lambda m, i, o: (o.retain_grad(), logits.append(o))[1])
    next_token_loss(model, {"input_ids": ids, "labels": labels}).backward()
    counted = logits[0].grad.abs().sum(-1)[0] > 0
    assert counted.tolist() == [i == 2 for i in range(8)], "label 3 is predicted at position 2 and nowhere else"


def test_bits_per_byte_of_a_uniform_model():
    task, spec = tasks.get("python-code")(), resolve("tiny-llama")
    data = task.load(spec, Sizes(train=8, test=6, length=64), 0)
    model = spec.build(None)
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()  # tied head: every token becomes equally likely
    metrics = task.score(model, data, spec)
    tokens = 6 * 63
    size = sum(e["bytes"] for e in data.test)
    assert metrics.details["loss"] == pytest.approx(math.log(2048), rel=1e-5)
    assert metrics.value == pytest.approx(tokens * 11 / size, rel=1e-5)
    tokenizer = spec.tokenizer()
    for example in data.test:
        assert example["bytes"] == pytest.approx(len(tokenizer.decode(example["input_ids"][1:]).encode()), abs=6)


def test_held_out_windows_come_from_other_files():
    from workbench.assets import locate
    from workbench.tasks.python_code import source_files, windows

    spec = resolve("tiny-llama")
    files = source_files(locate("python-source"))
    assert len(files) > 100 and not any("test" in f.parts for f in files)
    found = windows(files[:3], spec.tokenizer(), 32, 5)
    assert len(found) == 5 and all(len(e["input_ids"]) == 32 for e in found)
