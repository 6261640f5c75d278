"""Functions whose backward pass keeps less than a second derivative needs refuse one instead of giving a wrong one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.nn.lean_frozen import freeze_convolution
from workbench.nn.lean_static import byte_linear, packed_gelu, pruned_layer_norm

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


def convolved(x: torch.Tensor) -> torch.Tensor:
    return freeze_convolution(nn.Conv2d(1, 2, 1))(x[None, None])


@pytest.mark.parametrize(
    "function",
    [
        packed_gelu,
        lambda x: byte_linear(x, WEIGHT.clone().requires_grad_(), None),
        lambda x: pruned_layer_norm(x, torch.ones(6), torch.zeros(6), keep=0.5),
        convolved,
    ],
    ids=["packed GELU", "byte linear", "pruned layer norm", "frozen convolution"],
)
def test_a_second_derivative_is_refused(function):
    x = X.clone().requires_grad_()
    [first] = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.square().sum().backward()
