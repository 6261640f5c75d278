"""ZOODiP: only the token moves, the limits are plain zeroth-order and all times, weights are integers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import Category
from workbench.memory import ledger
from workbench.memory.measure import measure
from workbench.nn.int8_weights import Int8Embedding
from workbench.nn.token_history import TokenHistory, quiet_directions
from workbench.nn.weight_only_int8 import WeightOnlyInt8Linear
from workbench.parts.optimizer.adamw import AdamW
from workbench.tasks.base import Sizes
from workbench.testing import Subject

MODEL, TASK = "tiny-denoiser", "new-digit"


def subject(**settings) -> Subject:
    return Subject("zoodip", MODEL, settings)


def after(steps: int, **settings) -> dict[str, torch.Tensor]:
    """Everything the model holds after these steps from one seed."""
    model = subject(**settings).attached()
    subject(**settings).trained(model, steps)
    return {n: t.clone() for n, t in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_only_the_token_moves() -> None:
    model = subject(subspace=3).attached()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    subject(subspace=3).trained(model, 8)
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {"tokens.token"}
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["tokens.token"]


def test_up_to_the_first_directions_it_is_plain_zeroth_order() -> None:
    """tau steps fill the path; the directions found then change the next step and no earlier one."""
    plain = {"optimizer": "sgd", "lr": 1e-2}
    tau = 4
    assert same(after(tau, subspace=tau, noise_share=0.5), after(tau, subspace=10_000, noise_share=0.5))
    with_directions, without = (after(tau + 2, subspace=t, noise_share=0.5, **plain) for t in (tau, 10_000))
    assert not same(with_directions, without)


def test_a_share_of_nothing_removes_nothing() -> None:
    """The whole space kept: equal to the bit to a history that never comes due."""
    assert same(after(9, subspace=3, noise_share=0.0), after(9, subspace=10_000, noise_share=0.0))


def test_without_scale_and_history_it_is_the_zeroth_order_lever() -> None:
    """textual-inversion with the lever on is the same step: the parts compose."""
    levers = {"gradient": "one-sided", "probes": 2, "lr": 1e-2, "optimizer": "sgd"}
    other = Subject("textual-inversion", MODEL, levers)
    model = other.attached()
    other.trained(model, 4)
    whole = {"timesteps_from": 0.0, "timesteps_to": 1.0, "subspace": 0, "quantized": "none", "optimizer": "sgd"}
    assert torch.equal(after(4, **whole)["tokens.token"], model.state_dict()["tokens.token"])


def test_removed_directions_are_orthonormal_and_the_gradient_has_nothing_of_them() -> None:
    torch.manual_seed(0)
    path = torch.randn(12, 6) * torch.tensor([9.0, 4.0, 1.0, 1e-2, 1e-3, 1e-4]) @ torch.randn(6, 6)
    quiet = quiet_directions(path, 0.05)
    kept = quiet[quiet.norm(dim=1) > 0]
    assert 0 < len(kept) < 6 and quiet.shape == (12, 6)
    torch.testing.assert_close(kept @ kept.T, torch.eye(len(kept)), atol=1e-5, rtol=0)
    token = nn.Parameter(torch.randn(6))
    rule = TokenHistory([token], 0.1, AdamW(0.0).build, interval=12, share=0.05, probes=2)
    for value in path:
        token.data.copy_(value)
        token.grad = torch.randn(6)
        rule.param_groups[0]["lr"] = 0.0
        rule.step()
    assert torch.equal(rule.state[token]["quiet"], quiet)
    token.grad = torch.randn(6)
    rule.step()
    torch.testing.assert_close(kept @ token.grad, torch.zeros(len(kept)), atol=1e-5, rtol=0)


def test_the_directions_are_those_behind_the_one_that_passes() -> None:
    """Against scikit-learn: standardise, components, cumulative explained variance, from the next one on."""
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    torch.manual_seed(1)
    path = (torch.randn(20, 8) @ torch.randn(8, 8)).cumsum(0)
    fitted = PCA(8, svd_solver="full").fit(StandardScaler().fit_transform(path.double().numpy()))
    first = int(np.argmax(np.cumsum(fitted.explained_variance_ratio_) > 1 - 0.03)) + 1
    ours = quiet_directions(path, 0.03)
    expected = torch.from_numpy(fitted.components_[first:].T @ fitted.components_[first:]).float()
    assert 1 <= first < 8
    torch.testing.assert_close(ours.T @ ours, expected, atol=2e-3, rtol=0)


def test_the_path_is_a_ring_of_the_last_tokens() -> None:
    token = nn.Parameter(torch.zeros(3))
    rule = TokenHistory([token], 1.0, AdamW(0.0).build, interval=4, share=1e-3, probes=1)
    seen = []
    for _ in range(6):
        token.grad = torch.ones(3)
        rule.step()
        seen.append(token.detach().clone())
    assert torch.equal(rule.state[token]["path"], torch.stack([seen[4], seen[5], seen[2], seen[3]]))


def test_the_scale_makes_the_estimate_as_long_as_the_gradient() -> None:
    """On a quadratic, over 400 draws: within the interval of the mean square."""
    numbers, probes = 32, 2
    gradient, found = torch.ones(numbers), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        z = torch.randn(probes, numbers, generator=generator)
        token = nn.Parameter(torch.zeros(numbers))
        token.grad = ((z @ gradient)[:, None] * z).mean(0)
        TokenHistory([token], 0.0, AdamW(0.0).build, interval=4, share=0.0, probes=probes).step()
        found.append(float(token.grad.square().sum() / gradient.square().sum()))
    values = torch.tensor(found)
    half = 3 * float(values.std()) / len(found) ** 0.5
    # E|g|^2 is (d + q + 1) / q times the gradient's, the paper's scale takes (d + q - 1) / q out of it.
    assert abs(float(values.mean()) - (numbers + probes + 1) / (numbers + probes - 1)) < half


def test_a_window_of_all_times_is_uniform_and_a_narrow_one_draws_inside() -> None:
    case = subject().case
    model = case.attached()
    assert model.window == (0.5, 0.9)
    seen = []
    model.velocity = lambda x, times, tokens: seen.append(times) or x
    levels = torch.linspace(0, 0.999, 50)
    many = {n: t[:1].expand(50, *t.shape[1:]) for n, t in case.example()[0].items()} | {"levels": levels}
    model(**many)
    assert float(seen[0].min()) == 0.5 and 0.89 < float(seen[0].max()) < 0.9
    model.window = (0.0, 1.0)
    model(**many)
    assert torch.equal(seen[1], levels)


def test_weights_are_integers_at_rest_and_never_whole_in_float() -> None:
    """By the ledger: weights take about a quarter, and at no moment is there room for a float copy of all of them."""
    integers, rounded = subject(), subject(quantized="fake")
    model = integers.attached()
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Embedding)]
    assert layers and all(isinstance(m, WeightOnlyInt8Linear | Int8Embedding) for m in layers)
    assert all(m.packed.dtype is torch.int8 for m in layers)
    whole = sum(m.packed.numel() for m in layers) * 4
    found, other = (measure(s.case.step(s.attached()), s.examples()) for s in (integers, rounded))
    weights = found.by_category[Category.WEIGHTS]
    assert weights < 0.3 * other.by_category[Category.WEIGHTS]
    assert found.peak - weights < 0.5 * whole
    assert found.saved == 0


def test_a_rounded_float_copy_gives_the_same_numbers() -> None:
    integers, rounded = (after(4, quantized=q)["tokens.token"] for q in ("int8", "fake"))
    torch.testing.assert_close(integers, rounded, atol=1e-5, rtol=1e-4)


def test_the_perturbation_reaches_the_token() -> None:
    """eps is above what float32 rounds away: a thousandth of a token of length eight."""
    token = subject().attached().tokens.token.detach()
    assert (token + 1e-3 * torch.randn(64) != token).all()


def test_two_probes_are_three_forward_passes() -> None:
    sub = subject()
    model = sub.attached()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    sub.trained(model, 1)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"timesteps_from": 0.8, "timesteps_to": 0.3}, "timesteps_from"),
        ({"weights": "bf16"}, "quantized"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(settings, field) -> None:
    with pytest.raises(Incompatible, match=field):
        Case(TASK, MODEL, "zoodip", 4, settings=settings).attached()


@pytest.mark.parametrize("settings", [{"word": 54}, {"probes": 0}, {"perturbation": 0.0}, {"noise_share": 1.0}])
def test_impossible_values_are_refused(settings) -> None:
    with pytest.raises(BadInput, match=next(iter(settings))):
        Case(TASK, MODEL, "zoodip", 4, settings=settings).attached()


def test_noise_and_times_follow_from_seed_and_number() -> None:
    case = subject().case
    data = case.task.load(case.spec, Sizes(16, 8), 0)
    streams = [case.task.batches(data, case.spec, 4, seed, first) for seed, first in ((3, 0), (3, 2), (4, 0))]
    first = [next(streams[0]) for _ in range(3)]
    again, other = next(streams[1]), next(streams[2])
    assert all(torch.equal(first[2][n], again[n]) for n in again)
    assert not torch.equal(first[0]["noise"], other["noise"])
    assert not torch.equal(first[0]["noise"], first[1]["noise"])


@pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")
def test_tables_of_the_inner_rule_are_counted() -> None:
    """Eight-bit AdamW makes two, which a prediction sees being made: a measurement must know whose they are."""
    case = Case("new-digit", "tiny-denoiser", "zoodip", 4, 8, settings={"optimizer": "adamw8bit"})
    predicted, measured = case.predict(fresh=True), measure(case.step(case.attached()), case.example())
    assert predicted.peak == measured.peak and predicted.by_category == measured.by_category
