"""Train a slice of a weight's channels: only their gradient is made, and of inputs only those channels are saved.

``W[:, :k]`` of a linear layer or a convolution trains; the rest is frozen. The backward pass computes
``dW[:, :k] = dY^T X[:, :k]``, a product k / K the size of the whole (channel slices of PockEngine, Zhu et al.,
2023, and of training under 256 KB, Lin et al., 2022). Where rows train instead, ``dW[:k] = dY[:, :k]^T X`` is as
small, but reads the whole input (the row slices of S2FT, Yang et al., 2024).

The weight is stored with the sliced channels outermost. The trained slice is then a contiguous piece of the same
storage, so an optimizer's update of ``part`` is an update of ``weight``: there is no second copy to keep in step.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, linear

from workbench.core.errors import BadInput


class _Sliced(nn.Module):
    """What all kinds of layer share: one storage, two parameters that look at it, one name in the state."""

    weight: nn.Parameter
    part: nn.Parameter
    bias: nn.Parameter | None
    axis = 1  #: of the weight; its first channels along it train

    def _share(self, source: Tensor, bias: nn.Parameter | None, channels: int) -> None:
        """Lay ``source`` out with the sliced channels outermost. ``part`` is the first ``channels`` of them."""
        if not 1 <= channels <= source.shape[self.axis]:
            kind = "input" if self.axis else "output"
            raise BadInput("channels", channels, f"1 to {source.shape[self.axis]} {kind} channels")
        outermost = source.detach().transpose(0, self.axis).contiguous()
        self.channels = channels
        self.weight = nn.Parameter(outermost.transpose(0, self.axis), requires_grad=False)
        self.part = nn.Parameter(outermost[:channels])
        self.register_parameter("bias", bias)

    def _rejoin(self) -> None:
        """Make both parameters look at one storage again, after something copied each by itself."""
        if self.weight.untyped_storage()._cdata != self.part.untyped_storage()._cdata:
            outermost = self.weight.detach().transpose(0, self.axis).contiguous()
            self.weight.data, self.part.data = outermost.transpose(0, self.axis), outermost[: self.channels]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._rejoin()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        made._rejoin()
        return made

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """The whole weight under its usual name; the slice is in it."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.pop(f"{prefix}part", None)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        missing = rest[2]
        if f"{prefix}part" in missing:
            missing.remove(f"{prefix}part")


class SlicedLinear(_Sliced):
    """``x W^T + b`` with ``W[:, :channels]`` trained, as ``part`` of shape (channels, out features).

    Takes over the weight of ``source`` (in another layout) and its bias as it is.
    """

    def __init__(self, source: nn.Linear, channels: int) -> None:
        super().__init__()
        self._share(source.weight, source.bias, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (..., in features) to (..., out features)."""
        return _LinearPart.apply(x, self.weight, self.part, self.bias)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, channels={self.channels}"


class SlicedRows(_Sliced):
    """``x W^T + b`` with ``W[:channels]`` trained, as ``part`` of shape (channels, in features).

    Takes over the weight of ``source`` and its bias as they are. The whole input is kept for the backward pass, and
    of an input that is a view all that it looks at.
    """

    axis = 0

    def __init__(self, source: nn.Linear, channels: int) -> None:
        super().__init__()
        self._share(source.weight, source.bias, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (..., in features) to (..., out features)."""
        return _LinearRows.apply(x, self.weight, self.part, self.bias)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, rows={self.channels}"


class SlicedConv2d(_Sliced):
    """A convolution with ``W[:, :channels]`` trained, as ``part`` of shape (channels, out channels, height, width).

    Takes over the weight of ``source`` (in another layout), its bias and its geometry; ungrouped and zero-padded
    convolutions only.
    """

    def __init__(self, source: nn.Conv2d, channels: int) -> None:
        super().__init__()
        if source.groups != 1 or source.padding_mode != "zeros" or isinstance(source.padding, str):
            raise BadInput("source", str(source), "an ungrouped convolution with numbers of zeros as padding")
        self.geometry = (list(source.stride), list(source.padding), list(source.dilation))
        self._share(source.weight, source.bias, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (batch, in channels, height, width) to (batch, out channels, ...), or both without the batch."""
        if x.dim() == 3:
            return self(x.unsqueeze(0)).squeeze(0)  # type: ignore[no-any-return]
        return _ConvolutionPart.apply(x, self.weight, self.part, self.bias, self.geometry)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, channels={self.channels}"


class _LinearPart(torch.autograd.Function):
    """``part`` is in ``weight``; it is an argument so that it gets a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, part: Tensor, bias: Tensor | None) -> Tensor:
        kept = None
        if ctx.needs_input_grad[2]:
            k = part.shape[0]
            kept = x if k == x.shape[-1] else x[..., :k].clone(memory_format=torch.contiguous_format)
        ctx.save_for_backward(kept, weight if ctx.needs_input_grad[0] else None)
        return linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        kept, weight = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        dx = grad.matmul(weight) if weight is not None else None
        dpart = kept.reshape(-1, kept.shape[-1]).t().mm(flat) if kept is not None else None
        dbias = flat.sum(0) if ctx.needs_input_grad[3] else None
        return dx, None, dpart, dbias


class _LinearRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, part: Tensor, bias: Tensor | None) -> Tensor:
        ctx.rows = part.shape[0]
        ctx.save_for_backward(x if ctx.needs_input_grad[2] else None, weight if ctx.needs_input_grad[0] else None)
        return linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        dx = grad.matmul(weight) if weight is not None else None
        dpart = flat[:, : ctx.rows].t().mm(x.reshape(-1, x.shape[-1])) if x is not None else None
        dbias = flat.sum(0) if ctx.needs_input_grad[3] else None
        return dx, None, dpart, dbias


class _ConvolutionPart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, part: Tensor, bias: Tensor | None, geometry: Any) -> Tensor:
        kept = None
        if ctx.needs_input_grad[2]:
            k = part.shape[0]
            kept = x if k == x.shape[1] else x[:, :k].clone(memory_format=torch.contiguous_format)
        ctx.save_for_backward(kept, weight)
        ctx.geometry, ctx.shape = geometry, x.shape
        return conv2d(x, weight, bias, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        kept, weight = ctx.saved_tensors
        shared = (*ctx.geometry, False, [0, 0], 1)
        dx = dpart = None
        if ctx.needs_input_grad[0]:
            # The kernel asks for the input but reads only its shape.
            empty = grad.new_empty(ctx.shape)
            dx = torch.ops.aten.convolution_backward(grad, empty, weight, None, *shared, [True, False, False])[0]
        if kept is not None:
            narrow = weight[:, : kept.shape[1]]
            wanted = [False, True, False]
            found = torch.ops.aten.convolution_backward(grad, kept, narrow, None, *shared, wanted)[1]
            dpart = found.transpose(0, 1)
        dbias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None
        return dx, None, dpart, dbias, None
