"""Frozen norms and convolutions that keep no map for the backward pass.

Stock autograd keeps the whole input of a convolution or batch norm even when nothing in it is trained, because the
backward kernel takes it as an argument. Neither gradient here reads it. A frozen ``nn.Linear`` needs no counterpart:
torch already drops its input.

The gated hard-swish and the shift-only norm are those of MobileTL (Chiang et al., 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, hardswish

from workbench.core.errors import BadInput
from workbench.nn.bit_masks import Bits, pack_bits, unpack_bits
from workbench.nn.deterministic import stay_evaluating


class ShiftOnlyNorm(nn.BatchNorm2d):
    """A batch norm in evaluation mode: ``y = a x + (bias - a mean)``, ``a = weight / sqrt(running_var + eps)``.

    Only ``bias`` may train. Keeps nothing but ``a``, one number per channel, which lives anyway, and follows the
    statistics of a state dict that is loaded.
    """

    scale: Tensor

    def _load_from_state_dict(self, *given: Any) -> None:
        super()._load_from_state_dict(*given)
        found = _scale(self)
        if found.device == self.scale.device:
            self.scale.copy_(found)  # in place: others may hold it
        else:
            self.scale = found

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (batch, channels, height, width) to the same, in training as in evaluation."""
        shift = self.bias - self.scale * self.running_mean
        return torch.addcmul(shift.view(1, -1, 1, 1), x, self.scale.view(1, -1, 1, 1))


def freeze_norm(module: nn.BatchNorm2d, *, lean: bool = True) -> nn.BatchNorm2d:
    """Fix scale and statistics of ``module`` itself: same tensors, same names.

    ``lean`` false leaves it torch's own, in evaluation mode for good, which keeps its whole input.
    """
    if module.running_mean is None or module.running_var is None or not module.affine:
        raise BadInput("module", str(module), "a batch norm with running statistics, scale and shift")
    module.weight.requires_grad_(False)
    module.track_running_stats = False  # nobody moves them any more
    if not lean:
        stay_evaluating(module)
        return module
    module.register_buffer("scale", _scale(module), persistent=False)
    module.__class__ = ShiftOnlyNorm
    return module


def _scale(module: nn.BatchNorm2d) -> Tensor:
    assert module.running_var is not None
    return (module.running_var + module.eps).rsqrt() * module.weight.detach()


class FrozenConv2d(nn.Conv2d):
    """A convolution whose weight does not train; keeps the weight alone. Its bias may train."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (batch, in channels, height, width) to (batch, out channels, ...), or both without the batch."""
        if self.weight.requires_grad:
            raise BadInput("weight", "trained", "a weight with requires_grad=False in a frozen convolution")
        if x.dim() == 3:
            return self(x.unsqueeze(0)).squeeze(0)  # type: ignore[no-any-return]
        geometry = (list(self.stride), list(self.padding), list(self.dilation), self.groups)
        result: Tensor = _FrozenConvolution.apply(x, self.weight, self.bias, geometry)
        return result


def freeze_convolution(module: nn.Conv2d) -> FrozenConv2d:
    """Turn ``module`` itself into its lean counterpart: same tensors, same names; its weight stops training."""
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise BadInput("module", str(module), "a convolution with numbers of zeros as padding")
    module.weight.requires_grad_(False)
    module.__class__ = FrozenConv2d
    assert isinstance(module, FrozenConv2d)
    return module


class _FrozenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.geometry, ctx.shape = geometry, x.shape
        stride, padding, dilation, groups = geometry
        return conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (weight,) = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        dx = None
        if ctx.needs_input_grad[0]:
            # The kernel asks for the input but reads only its shape.
            empty = grad.new_empty(ctx.shape)
            rest = (None, stride, padding, dilation, False, [0, 0], groups, [True, False, False])
            dx = torch.ops.aten.convolution_backward(grad, empty, weight, *rest)[0]
        return dx, None, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None


class _GatedHardswish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float) -> Tensor:
        x = x if torch.ops.aten.is_non_overlapping_and_dense.default(x) else x.contiguous()
        packed, ctx.size, ctx.strides = pack_bits(x <= threshold)
        ctx.save_for_backward(packed)
        return hardswish(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (packed,) = ctx.saved_tensors
        return grad.masked_fill(unpack_bits(Bits(packed, ctx.size, ctx.strides)), 0), None


def hardswish_with_bits(x: Tensor, threshold: float = 0.0) -> Tensor:
    """Hard-swish with an exact forward pass; its derivative is taken as 1 above ``threshold`` and 0 below.

    Keeps one bit per element. The gradient is an approximation, unlike that of ``clamp_with_bits``.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return hardswish(x)
    result: Tensor = _GatedHardswish.apply(x, threshold)
    return result


class GatedHardswish(nn.Hardswish):
    """``x relu6(x + 3) / 6``; see :func:`hardswish_with_bits`."""

    threshold: float

    def forward(self, x: Tensor) -> Tensor:
        return hardswish_with_bits(x, self.threshold)


def gate_hardswish(module: nn.Hardswish, threshold: float) -> GatedHardswish:
    """Turn ``module`` itself into its one-bit counterpart."""
    module.__class__ = GatedHardswish
    assert isinstance(module, GatedHardswish)
    module.threshold = threshold
    return module
