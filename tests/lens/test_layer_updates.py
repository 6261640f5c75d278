"""How far a step moved the weights of each layer, on samples that no budget counts."""

import torch
from torch import nn

from workbench.case import Case
from workbench.lens.layers import SAMPLE, layer_norms
from workbench.memory.guard import guard


def moved(model, by):
    norms = layer_norms(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
        norms(parameter)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(by(parameter))
    return norms


def test_the_ratio_is_exact_where_the_sample_is_the_whole():
    model = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 2, bias=False))
    found = moved(model, lambda p: p * 0.9)
    assert all(abs(ratio - 0.1) < 1e-6 for ratio in found.updates().values())
    assert len(found.updates()) == 2


def test_a_sample_stands_for_a_large_tensor():
    torch.manual_seed(0)
    model = nn.Linear(1024, 300, bias=False)
    assert model.weight.numel() > SAMPLE
    before = model.weight.detach().clone()
    found = moved(model, lambda p: p + 0.01 * torch.randn_like(p))
    exact = float((model.weight - before).norm() / before.norm())
    (ratio,) = found.updates().values()
    assert abs(ratio / exact - 1) < 0.05


def test_narrow_numbers_are_read_and_others_left_out():
    model = nn.Linear(16, 16, bias=False, dtype=torch.bfloat16)
    (ratio,) = moved(model, lambda p: p * 0.5).updates().values()
    assert abs(ratio - 0.5) < 1e-6


def test_a_layer_that_was_all_zero_has_no_ratio():
    model = nn.Linear(4, 4, bias=False)
    nn.init.zeros_(model.weight)
    assert moved(model, lambda p: p + 1).updates() == {}


def test_watching_a_forward_only_step_uses_up_no_budget():
    """It never holds an estimate of its own, so what is shown to who watches must lie elsewhere."""
    case = Case("tokens", "tiny-bert", "mezo", 1, 8)  # whose embedding is most of it
    step, batch = case.step(case.attached(weights=False)), case.example()
    peaks, seen = [], []
    for observer in (None, None, layer_norms(step.model)):
        step.observer = observer
        with guard(2**40, step, batch) as guarded:
            step(batch)
        peaks.append(guarded.peak)
        seen.append(observer.values() if observer else {})
    assert peaks[2] == peaks[1] and all(norm > 0 for norm in seen[2].values()) and len(seen[2]) > 2
