"""The prefix cache changes what a step costs and nothing of what it learns."""

from __future__ import annotations

import gc

import pytest
import torch

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, Incompatible
from workbench.core.phase import at_its_most
from workbench.core.profile import Category
from workbench.memory import ledger
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.memory.snapshot import Snapshot
from workbench.methods.base import methods
from workbench.nn import prefix_identity
from workbench.nn.prefix_cache import PrefixCache
from workbench.parts.storage.narrow_prefix import settled_prefix
from workbench.predictions import counted
from workbench.tasks.base import Sizes
from workbench.testing import Subject

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")

MODELS = {
    "tiny-bert": ("tokens", 16),
    "tiny-llama": ("tokens", 16),
    "tiny-vit": ("pixels", None),
    "tiny-cnn": ("pixels", 32),
    "tiny-sensor": ("pixels", None),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Rows of other runs must not answer here."""
    monkeypatch.setattr(prefix_identity, "folder", lambda: tmp_path)


def _case(model, method="last-blocks", batch=3, **settings):
    task, length = MODELS[model]
    return Case(task, model, method, batch, length, settings=settings)


def _batches(case, steps, examples=12, seed=0):
    """Shuffled epochs over a few distinct examples."""
    generator = torch.Generator().manual_seed(seed)
    whole = case.task.example_batch(case.spec, examples, case.length)
    for value in whole.values():
        if value.is_floating_point():
            value += torch.randn(value.shape, generator=generator)
    order: list[int] = []
    for _ in range(steps):
        if len(order) < case.batch:
            order = torch.randperm(examples, generator=generator).tolist()
        rows, order = order[: case.batch], order[case.batch :]
        yield {name: value[rows] for name, value in whole.items()}


def _losses(case, steps=12, model=None, **options):
    torch.manual_seed(0)
    model = case.attached(weights=False) if model is None else model
    step = case.step(model)
    torch.manual_seed(1)
    return [float(step(batch)) for batch in _batches(case, steps, **options)], model


def _plain_losses(case, **options):
    """The same run with the prefix in evaluation mode and no cache."""
    plain = _case(case.model_name, case.method_name, case.batch, **{**case.settings, "prefix_cache": "none"})
    torch.manual_seed(0)
    model = plain.attached(weights=False)
    settled_prefix(model, "test", "")
    model.train()
    return _losses(plain, model=model, **options)[0]


@pytest.mark.parametrize("place", ["ram", "disk"])
@pytest.mark.parametrize("model", MODELS)
def test_losses_are_those_without_the_cache_and_each_example_is_computed_once(model, place):
    case = _case(model, prefix_cache=place, cached_examples=12)
    losses, attached = _losses(case)
    torch.testing.assert_close(losses, _plain_losses(case), rtol=0, atol=1e-6)
    cache = attached.pintpot_prefix_cache
    assert (cache.computed, cache.found) == (12, 24)


@pytest.mark.parametrize(
    ("model", "method", "settings"),
    [
        ("tiny-llama", "last-blocks", {"chunked_loss": 8}),
        ("tiny-bert", "last-blocks", {"recompute": 1}),
        ("tiny-cnn", "last-blocks", {"channels_last": True}),
        ("tiny-bert", "last-blocks", {"update_in_backward": True}),
        ("tiny-bert", "lora", {"top_blocks": 1}),
        ("tiny-llama", "lora", {"top_blocks": 2, "targets": "linear"}),
        ("tiny-bert", "head", {}),
        ("tiny-bert", "last-blocks", {"weights": "prefix-int8"}),
        ("tiny-llama", "last-blocks", {"weights": "prefix-bf16"}),
    ],
)
def test_it_goes_with_other_levers_and_selections(model, method, settings):
    case = _case(model, method, prefix_cache="ram", cached_examples=12, **settings)
    losses, attached = _losses(case)
    torch.testing.assert_close(losses, _plain_losses(case), rtol=0, atol=1e-6)
    assert attached.pintpot_prefix_cache.computed == 12


def test_a_cache_too_small_for_all_examples_computes_the_rest():
    case = _case("tiny-bert", prefix_cache="ram", cached_examples=5)
    losses, attached = _losses(case)
    torch.testing.assert_close(losses, _plain_losses(case), rtol=0, atol=1e-6)
    assert attached.pintpot_prefix_cache.found == 2 * 5


def test_the_next_run_finds_the_file_and_another_prefix_does_not():
    case = _case("tiny-bert", prefix_cache="disk", cached_examples=12)
    _losses(case)
    gc.collect()  # the file is closed, and opened again
    losses, second = _losses(case)
    assert second.pintpot_prefix_cache.computed == case.batch, "the first batch tells the form of a row"
    torch.testing.assert_close(losses, _plain_losses(case), rtol=0, atol=1e-6)
    torch.manual_seed(0)
    other = case.attached(weights=False)
    with torch.no_grad():
        next(other.pintpot_prefix_cache._identity._modules[-1].parameters()).add_(1.0)
    _, other = _losses(case, model=other)
    assert other.pintpot_prefix_cache.computed == 12


def test_damaged_rows_are_computed_again(tmp_path):
    case = _case("tiny-bert", prefix_cache="disk", cached_examples=12)
    _losses(case)
    (file,) = tmp_path.glob("*.rows")
    content = bytearray(file.read_bytes())
    record = len(content) // 12
    for number in (4, 9):
        content[number * record + record // 2] ^= 1
    file.write_bytes(content)
    losses, model = _losses(case)
    torch.testing.assert_close(losses, _plain_losses(case), rtol=0, atol=1e-6)
    assert 2 <= model.pintpot_prefix_cache.computed <= 3 * case.batch
    assert _losses(case)[1].pintpot_prefix_cache.computed == case.batch, "they were mended"


@pytest.mark.parametrize("place", ["ram", "disk"])
def test_a_weight_that_changes_under_a_running_cache_empties_it(place):
    case = _case("tiny-bert", prefix_cache=place, cached_examples=12)
    _, model = _losses(case, steps=4)
    cache = model.pintpot_prefix_cache
    assert cache.computed == 12
    step, batch = case.step(model), next(_batches(case, 1))
    weight = next(p for p in cache._identity._modules[-1].parameters() if p.ndim > 1)
    with Snapshot(step):
        step(batch)
    step(batch)
    assert cache.computed == 12, "written to with the same values: the rows are still right"
    with torch.no_grad():
        weight.mul_(1.5)
    step(batch)
    assert cache.computed == 15


def test_evaluation_neither_asks_nor_fills_the_cache():
    case = _case("tiny-bert", prefix_cache="ram", cached_examples=12)
    _, model = _losses(case, steps=1)
    data = case.task.load(case.spec, Sizes(train=8, test=8, length=16), 0)
    before = model.pintpot_prefix_cache.computed, model.pintpot_prefix_cache.found
    case.task.score(model, data, case.spec)
    assert (model.pintpot_prefix_cache.computed, model.pintpot_prefix_cache.found) == before
    assert all(not m.training for m in model.pintpot_prefix_cache._identity._modules) and model.training


# -- memory --------------------------------------------------------------------------------------------


@needs_ledger
@pytest.mark.parametrize("settings", [{"prefix_cache": "ram", "cached_examples": 40}, {"prefix_cache": "disk"}])
@pytest.mark.parametrize("model", MODELS)
def test_predicted_is_measured_and_no_step_of_the_run_is_higher(model, settings):
    case = _case(model, **settings)
    predicted = case.predict(fresh=True)
    torch.manual_seed(0)
    attached = case.attached(weights=False)
    step = case.step(attached)
    batches = list(_batches(case, 8, examples=10))
    measured = measure(step, [batches[0]])
    assert predicted.peak - measured.peak == 0
    assert predicted.by_category == measured.by_category
    peaks = []
    for batch in batches:
        with guard(predicted.peak, step, [batch]) as guarded:
            step([batch])
        peaks.append(guarded.peak)
    cache = attached.pintpot_prefix_cache
    assert cache.found > 0, "steps that found some, all and none of their rows are among them"
    assert max(peaks) <= predicted.peak


@needs_ledger
def test_rows_in_memory_are_counted_as_inputs_from_the_first_step():
    small, large = (_case("tiny-bert", prefix_cache="ram", cached_examples=n).predict() for n in (10, 110))
    row = 16 * 64 * 4
    assert large.by_category[Category.INPUTS] - small.by_category[Category.INPUTS] == 100 * row
    assert large.peak - small.peak == 100 * row


@needs_ledger
def test_a_budget_too_small_for_the_rows_is_refused_and_says_what_asked():
    case = _case("tiny-bert", prefix_cache="ram", cached_examples=4000)
    step, batch = case.step(case.attached(weights=False)), case.example()
    with pytest.raises(BudgetExceeded) as refused, guard(8_000_000, step, batch):
        step(batch)
    assert refused.value.asked == 4000 * 16 * 64 * 4


@needs_ledger
def test_finding_all_rows_is_a_smaller_step():
    case = _case("tiny-bert", batch=8, prefix_cache="ram", cached_examples=8)
    attached = case.attached(weights=False)
    step, batch = case.step(attached), case.example()
    step(batch)
    with ledger.counting() as hit:
        step(batch)
    with at_its_most(), ledger.counting() as most:
        step(batch)
    assert 0 < hit.allocations < 0.9 * most.allocations and hit.peak <= most.peak


# -- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "method", "words"),
    [
        ("tiny-bert", "full", "nothing is frozen below"),
        ("tiny-bert", "lora", "nothing is frozen below"),
        ("tiny-bert", "bias", "nothing is frozen below"),
        ("tiny-bert", "prompt-tuning", "below the first trained block"),
    ],
)
def test_it_is_refused_where_nothing_below_is_frozen(model, method, words):
    with pytest.raises(Incompatible, match=words) as refused:
        _case(model, method, prefix_cache="ram").predict()
    assert "\n" not in str(refused.value)


def test_every_method_either_serves_the_cache_or_refuses_in_a_sentence():
    for method in methods:
        try:
            Case("tokens", "tiny-bert", method.name, 2, 8, settings={"prefix_cache": "disk"}).attached(
                device="meta", weights=False
            )
        except Incompatible as error:
            assert "\n" not in str(error)
        except (RuntimeError, NotImplementedError):
            continue  # a method that needs real weights to attach


def test_a_task_that_augments_is_refused(monkeypatch):
    case = _case("tiny-cnn")
    monkeypatch.setattr(type(case.task), "augments", True)
    with pytest.raises(Incompatible, match="changes its examples at random"):
        _case("tiny-cnn", prefix_cache="ram")


def test_counted_work_is_that_of_a_step_that_finds_its_rows():
    plain, cached = (counted(_case("tiny-bert", batch=4, prefix_cache=place), fresh=True) for place in ("none", "ram"))
    kept = counted(_case("tiny-bert", "full", batch=4), fresh=True)
    assert cached.total_flops < plain.total_flops < kept.total_flops
    blocks = 2 * 2 * 4 * 16 * (4 * 64 * 64 + 2 * 64 * 128)  # two frozen blocks of width 64 and 128, forward only
    assert plain.total_flops - cached.total_flops >= blocks


@pytest.mark.parametrize("place", ["ram", "disk"])
@pytest.mark.parametrize("model", ["tiny-bert", "tiny-cnn"])
def test_a_captured_graph_begins_at_the_boundary(model, place) -> None:
    """The same losses as eagerly, the same rows found, and no operator of the prefix in the graph."""
    losses, found = [], []
    for executor in ("eager", "graph"):
        settings = {"prefix_cache": place, "cached_examples": 8, "blocks": 1, "executor": executor}
        subject = Subject("last-blocks", model, settings)
        attached = subject.attached()
        step, values = subject.trained(attached, 3)
        cache = next(m for m in attached.modules() if isinstance(m, PrefixCache))
        losses.append(values)
        found.append((cache.computed, cache.found))
        predicted = subject.case.predict()
        assert predicted.peak == measure(subject.case.step(subject.attached()), subject.examples()).peak
    assert step.parts.estimator.notes == []
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert found[0] == found[1] and found[1][1] > 0
    [run] = step.parts.estimator._captured.values()
    assert not [n for n in run.plan.joint.parameters if "embed" in n or "stem" in n]
