"""What every task promises: shapes of synthetic batches, seeded disjoint splits, refusals."""

import pytest
import torch

from workbench.core.errors import BadInput, Incompatible, UnknownName
from workbench.models import INPUT_NAMES, ModelSpec, models, resolve
from workbench.tasks import Sizes, Task, tasks
from workbench.tasks.drawing import DRAWN

LOCAL = {
    "digits": "tiny-cnn",
    "docstring-topic": "tiny-bert",
    "python-code": "tiny-llama",
    "tokens": "tiny-bert",
    "pixels": "tiny-vit",
    "new-digit": "tiny-denoiser",
    "digit-diffusion": "tiny-denoiser",
}
_T5 = {"model_type": "t5", "vocab_size": 256, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
#: No model of encoder and decoder ships; from a folder it looks like this.
_T5_SPEC = ModelSpec("tiny-t5", "Tiny T5", "seq2seq-lm", 0, "none", "for this test", shape=(64,), config=_T5)
TINY = {
    "seq2seq-lm": _T5_SPEC,
    "text-encoder": "tiny-bert",
    "causal-lm": "tiny-llama",
    "image-classifier": "tiny-cnn",
    "sensor-classifier": "tiny-sensor",
    "image-denoiser": "tiny-denoiser",
}
SMALL = Sizes(train=24, test=8)


def test_every_task_states_itself():
    assert {
        "movie-sentiment", "amazon-sentiment", "news-sentiment", "tweet-sentiment", "newsgroups", "function-calling",
        "python-code", "fashion-mnist", "digits", "docstring-topic", "watch-exercises", "tokens", "pixels",
        "digit-diffusion", "new-digit", "fashion-diffusion", "new-garment",
    } <= set(tasks.names())  # fmt: skip
    for task in tasks:
        assert issubclass(task, Task) and task.title and task.doc and task.metric and task.kinds
        resolve(task.default_model)
        task().check(resolve(task.default_model))


def test_unknown_task_gives_the_nearest():
    with pytest.raises(UnknownName, match="movie-sentiment"):
        tasks.get("movie-sentimant")


@pytest.mark.parametrize("name", tasks.names())
def test_a_task_refuses_models_it_cannot_train(name):
    task = tasks.get(name)()
    for spec in models().values():
        if spec.kind not in task.kinds:
            with pytest.raises(Incompatible, match=name):
                task.check(spec)
            with pytest.raises(Incompatible):
                task.load(spec, SMALL, 0)


@pytest.mark.parametrize("name", tasks.names())
def test_synthetic_batch_feeds_model_and_loss(name):
    task = tasks.get(name)()
    for kind in task.kinds:
        spec = resolve(task.default_model if kind == "image-denoiser" else TINY[kind])
        batch = task.example_batch(spec, 3)
        assert set(batch) - {"labels"} == set(INPUT_NAMES[kind])
        assert all(value.shape[0] == 3 for value in batch.values())
        classes = None if spec.writes else len(getattr(task, "labels", ())) or 10
        loss = task.loss(spec.build(classes), batch)
        assert loss.shape == () and loss.isfinite()
        again = task.example_batch(spec, 3)
        assert all(torch.equal(batch[key], again[key]) for key in batch)


@pytest.mark.parametrize(("name", "model"), LOCAL.items())
def test_real_and_synthetic_batches_have_the_same_shapes(name, model):
    task, spec = tasks.get(name)(), resolve(model)
    data = task.load(spec, SMALL, 0)
    real, synthetic = task.collate(data.train[:4], spec), task.example_batch(spec, 4)
    for key in real:
        assert (real[key].shape, real[key].dtype) == (synthetic[key].shape, synthetic[key].dtype), key


@pytest.mark.parametrize(("name", "model"), LOCAL.items())
def test_data_are_a_function_of_seed_and_sizes(name, model):
    task, spec = tasks.get(name)(), resolve(model)
    first, same, other = (task.load(spec, SMALL, seed) for seed in (0, 0, 1))
    assert (len(first.train), len(first.test)) == (24, 8)
    assert first.hash == same.hash != other.hash and len(first.hash) == 64
    assert first.mask_id and first.split and first.seed == 0
    fewer = task.load(spec, Sizes(train=12, test=8), 0)
    key = next(k for k in ("input_ids", "image", "values") if k in first.test[0])
    if name not in ("tokens", "pixels"):
        assert [str(e[key]) for e in fewer.test] == [str(e[key]) for e in first.test], "the test part must not move"
        assert not {str(e[key]) for e in first.train} & {str(e[key]) for e in first.test}


@pytest.mark.parametrize(
    "sizes", [Sizes(train=0), Sizes(test=0), Sizes(train=10**7), Sizes(test=10**7), Sizes(train=-1)]
)
@pytest.mark.parametrize("name", ["digits", "docstring-topic", "python-code"])
def test_impossible_sizes_are_refused(name, sizes):
    with pytest.raises(BadInput, match=name):
        tasks.get(name)().load(resolve(LOCAL[name]), sizes, 0)


@pytest.mark.parametrize(
    ("name", "length"), [("docstring-topic", 3), ("docstring-topic", 1000), ("digits", 4), ("python-code", 0)]
)
def test_impossible_lengths_are_refused(name, length):
    task, spec = tasks.get(name)(), resolve(LOCAL[name])
    with pytest.raises(BadInput, match="length"):
        task.load(spec, Sizes(train=8, test=4, length=length), 0)
    with pytest.raises(BadInput, match="length"):
        task.example_batch(spec, 2, length)


def test_the_smallest_picture_a_net_takes_runs_and_a_smaller_one_is_refused():
    task = tasks.get("pixels")()
    for name, side in (("efficientnet-lite0", 32), ("tiny-cnn", 8)):
        spec = resolve(name)
        model = spec.build(10, weights=False)
        assert model(pixel_values=task.example_batch(spec, 2, side)["pixel_values"]).logits.shape == (2, 10)
        with pytest.raises(BadInput, match=f"side of {side}"):
            task.example_batch(spec, 2, side - 1)


def test_side_must_be_a_multiple_of_the_patch():
    with pytest.raises(BadInput, match="multiple of 14"):
        tasks.get("pixels")().example_batch(resolve("dinov2-small"), 1, 64)


def test_batches_are_shuffled_endless_and_never_larger_than_the_data():
    task, spec = tasks.get("digits")(), resolve("tiny-cnn")
    data = task.load(spec, SMALL, 0)
    stream = task.batches(data, spec, 10, seed=3)
    drawn = [next(stream)["labels"].tolist() for _ in range(5)]
    again = task.batches(data, spec, 10, seed=3)
    assert drawn == [next(again)["labels"].tolist() for _ in range(5)]
    for size in (25, 0):
        with pytest.raises(BadInput, match="batch"):
            next(task.batches(data, spec, size, seed=3))
    with pytest.raises(BadInput, match="batch"):
        task.example_batch(spec, 0)


@pytest.mark.parametrize(("name", "model"), LOCAL.items())
def test_scoring_leaves_the_mode_and_reports_counts(name, model):
    task, spec = tasks.get(name)(), resolve(model)
    data = task.load(spec, SMALL, 0)
    net = spec.build(data.classes)
    net.train()
    metrics = task.score(net, data, spec, batch=5)
    count = DRAWN if "image-denoiser" in task.kinds else 8
    assert net.training and metrics.count == count and metrics.name == task.metric
    whole = task.score(net, data, spec, batch=8)
    assert metrics.value == pytest.approx(whole.value, rel=1e-5)
    assert (0 <= metrics.value <= 1) or metrics.lower_is_better


def test_pictures_of_another_size_are_refused_before_anything_is_made():
    for name, model in (("new-garment", "tiny-denoiser"), ("new-digit", "small-denoiser")):
        with pytest.raises(Incompatible, match="pixels a side"):
            tasks.get(name)().example_batch(resolve(model), 2)
