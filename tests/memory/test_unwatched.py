"""What torch does differently while it is watched: prediction and measurement follow the bare step all the same."""

from __future__ import annotations

import pytest
import torch
from memory_cases import PlainStep
from torch import nn

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.memory import ledger
from workbench.memory.measure import measure
from workbench.memory.predict import predict
from workbench.memory.unwatched import lean_pooling

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")


@needs_ledger
@pytest.mark.parametrize(
    ("method", "batch", "length"),
    [("head", 16, 100), ("mezo", 16, 100), ("bias", 4, 64)],
    ids=["pooling below a trained head", "pooling without gradients", "weight gradient not asked for"],
)
def test_convolutions_in_one_dimension_are_exact(method, batch, length):
    case = Case("pixels", "tiny-sensor", method, batch, length)
    measured = measure(case.step(case.attached(weights=False)), case.example())
    predicted = case.predict(fresh=True)
    assert predicted.by_category == measured.by_category
    assert predicted.peak == measured.peak


PICKS = {
    "gather": lambda x: x.gather(1, torch.arange(8).expand(2000, 8)),
    "sort": lambda x: x.sort(1).values,
    "topk": lambda x: x.topk(4, 1).values,
    "mask": lambda x: x[torch.arange(2000) % 4 > 0],
    "rows": lambda x: x[torch.arange(1500)],
    "max": lambda x: x.max(1, keepdim=True).values,
}


@needs_ledger
@pytest.mark.parametrize("name", PICKS)
def test_a_backward_pass_scatters_into_its_own_zeros_as_a_bare_one_does(name):
    def step(model):
        return PlainStep(model, lambda p: torch.optim.SGD(p), lambda m, b: PICKS[name](m(b["x"])).sum())

    def build(device):
        return nn.Linear(4, 1000, device=device)

    batch = {"x": torch.ones(2000, 4)}
    measured = measure(step(build("cpu")), batch)
    predicted = predict(lambda: build("meta"), step, lambda: batch)
    assert (predicted.peak, predicted.by_category) == (measured.peak, measured.by_category)
    assert not any("rose" in a for a in measured.assumptions)


N = 1 << 16


def _shared_and_more():
    return torch.zeros(N).share_memory_(), torch.zeros(N)


PAST = {
    "a bare storage": lambda: torch.UntypedStorage(4 * N),
    "a storage under a tensor": lambda: torch.zeros(N).set_(torch.UntypedStorage(4 * N)),
    "shared memory": _shared_and_more,
    "a transform": lambda: torch.func.grad(lambda w: (w * w).sum())(torch.zeros(N)),
    "a gather in a transform": lambda: torch.func.grad(lambda w: (w.gather(0, torch.arange(N)) * w).sum())(
        torch.zeros(N)
    ),
}


@needs_ledger
@pytest.mark.parametrize("name", PAST)
def test_what_goes_past_or_under_the_dispatcher_is_predicted(name):
    class Beside(PlainStep):
        def __call__(self, batch):
            kept = PAST[name]()
            result = super().__call__(batch)
            del kept
            return result

    def step(model):
        return Beside(model, lambda p: torch.optim.SGD(p), lambda m, b: m(b["x"]).sum())

    batch = {"x": torch.ones(2, 4)}
    measured = measure(step(nn.Linear(4, 4)), batch)
    predicted = predict(lambda: nn.Linear(4, 4, device="meta"), step, lambda: batch)
    assert (predicted.peak, predicted.outside) == (measured.peak, measured.outside)
    assert measured.outside == ({"tensors in memory that torch did not allocate": 4 * N} if "shared" in name else {})
    assert torch.UntypedStorage(8).nbytes() == 8


@needs_ledger
@pytest.mark.parametrize(
    "scaled", [lambda w: w * 3.0, lambda w: w / 3.0, lambda w: 3 * w], ids=["times", "over", "whole"]
)
def test_a_backward_pass_takes_the_number_that_forward_kept(scaled):
    def step(model):
        return PlainStep(model, lambda p: torch.optim.SGD(p), lambda m, b: (scaled(m.weight) * b["x"]).sum())

    batch = {"x": torch.ones(300, 100)}
    measured = measure(step(nn.Linear(100, 300, bias=False)), batch)
    predicted = predict(lambda: nn.Linear(100, 300, bias=False, device="meta"), step, lambda: batch)
    assert (predicted.peak, predicted.by_category) == (measured.peak, measured.by_category)


@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"padding": 1}, {"stride": 2, "ceil_mode": True}])
def test_lean_pooling_pools_alike(settings):
    values = torch.randn(2, 3, 17)
    wanted = torch.max_pool1d(values, 3, **settings)
    with lean_pooling():
        assert torch.equal(torch.max_pool1d(values, 3, **settings), wanted)
        assert torch.equal(torch.nn.functional.max_pool1d(values[0], 3, **settings), wanted[0])
        trained = values.clone().requires_grad_()
        torch.nn.functional.max_pool1d(trained, 3, **settings).sum().backward()
        assert trained.grad is not None
        assert trained.grad.sum() == wanted.numel()


FOLDS = {
    "folded": lambda x: torch.nn.functional.fold(x.view(1, 36, 16 * 16), (16, 16), 3, padding=1),
    "unfolded": lambda x: torch.nn.functional.unfold(x.view(4, 1, 48, 48), 3, stride=2),
    "unfolded to less": lambda x: torch.nn.functional.unfold(x.view(4, 1, 48, 48), 1, stride=4),
}


@needs_ledger
@pytest.mark.parametrize("name", FOLDS)
def test_what_is_folded_keeps_the_room_of_what_it_was_made_from(name):
    def step(model):
        return PlainStep(model, lambda p: torch.optim.SGD(p), lambda m, b: FOLDS[name](m(b["x"])).square().sum())

    batch = {"x": torch.ones(96, 4)}
    measured = measure(step(nn.Linear(4, 96)), batch)
    predicted = predict(lambda: nn.Linear(4, 96, device="meta"), step, lambda: batch)
    assert (predicted.peak, predicted.by_category) == (measured.peak, measured.by_category)


def _halves(x):
    return x.relu().exp() + x.flip(0).sum(0, keepdim=True)


IN_THE_STEP = {
    "traced": lambda m, b: torch.jit.trace(_halves, (b["x"],), check_trace=False)(m(b["x"])).sum(),
    "traced and compared": lambda m, b: torch.jit.trace(m, (b["x"],))(b["x"]).square().sum(),
    "scripted": lambda m, b: torch.jit.script(m)(b["x"]).square().sum(),
}


def _steps(loss):
    def step(model):
        return PlainStep(model, lambda p: torch.optim.SGD(p), loss)

    batch = {"x": torch.ones(32, 64)}
    return (
        lambda: measure(step(nn.Linear(64, 64)), batch),
        lambda: predict(lambda: nn.Linear(64, 64, device="meta"), step, lambda: batch),
    )


@needs_ledger
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", IN_THE_STEP)
def test_a_graph_that_a_step_makes_of_itself_is_followed(name):
    measured, predicted = (run() for run in _steps(IN_THE_STEP[name]))
    assert (predicted.peak, predicted.by_category) == (measured.peak, measured.by_category)
    assert any("torch.testing compares" in said for said in predicted.assumptions) == ("compared" in name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("check", [False, True], ids=["not compared", "compared"])
def test_a_graph_with_numbers_is_traced_before_the_step_or_refused(check):
    def scaled(x):
        return (x * 2).relu() + 1.5

    def in_the_step(model, batch):
        return model(torch.jit.trace(scaled, (batch["x"],), check_trace=check)(batch["x"])).sum()

    for run in _steps(in_the_step):
        with pytest.raises(Incompatible, match=r"step: 'torch.jit.trace' .*; trace before the step, not in it"):
            run()
    before = torch.jit.trace(scaled, (torch.ones(32, 64),))
    measured, predicted = (run() for run in _steps(lambda m, b: m(before(b["x"])).sum()))
    assert predicted.by_category == measured.by_category
