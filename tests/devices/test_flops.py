"""Operations of a convolution's backward pass: each gradient costs what the forward pass does, groups or not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from workbench.devices.work import count


def _step(layer: nn.Module, x: torch.Tensor):
    return lambda: layer(x).sum().backward()


@pytest.mark.parametrize("layer", (nn.Conv2d, nn.ConvTranspose2d))
@pytest.mark.parametrize("groups", (1, 2, 8))
def test_groups_cost_what_as_many_small_convolutions_do(layer, groups):
    x = torch.randn(2, 8, 9, 9, requires_grad=True)
    whole = count(_step(layer(8, 16, 3, stride=2, groups=groups, bias=False), x)).total_flops
    part = torch.randn(2, 8 // groups, 9, 9, requires_grad=True)
    small = count(_step(layer(8 // groups, 16 // groups, 3, stride=2, bias=False), part)).total_flops
    assert whole == groups * small


def test_every_gradient_of_a_depthwise_convolution_costs_a_forward_pass():
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    forward = 2 * 9 * 8 * 2 * 6 * 6
    for needs, times in ((True, 3), (False, 2)):
        x = torch.randn(2, 8, 6, 6, requires_grad=needs)
        with FlopCounterMode(display=False) as torch_counts:
            _step(layer, x)()
        assert count(_step(layer, x)).total_flops == torch_counts.get_total_flops() == times * forward


def test_without_groups_it_is_what_the_products_of_the_gradient_are():
    """Counted independently: the gradient of the weight as one product of unfolded input and gradient."""
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3, requires_grad=True)
    out = functional.conv2d(x, weight, stride=2)
    unfolded = functional.unfold(x, 3, stride=2)
    with FlopCounterMode(display=False) as product:
        torch.einsum("nop,nkp->ok", torch.ones_like(out).flatten(2), unfolded)
    assert count(lambda: out.sum().backward()).total_flops == product.get_total_flops()


def test_a_row_of_a_grouped_product_meets_the_matrix_of_its_expert_alone():
    """Forward, and the gradients of rows and of all experts' matrices: as one product of all rows each."""
    rows, experts = torch.randn(24, 16, requires_grad=True), torch.randn(4, 16, 8, requires_grad=True)
    ends = torch.tensor([6, 12, 20, 24], dtype=torch.int32)
    plain, weight = torch.randn(24, 16, requires_grad=True), torch.randn(16, 8, requires_grad=True)
    gradient = torch.randn(24, 8)
    grouped = count(lambda: functional.grouped_mm(rows, experts, offs=ends).backward(gradient)).total_flops
    assert grouped == count(lambda: (plain @ weight).backward(gradient)).total_flops == 3 * 2 * 24 * 16 * 8
