"""Next-token cross-entropy whose logits exist for a few tokens at a time, with the gradient taken in the forward pass.

A language model's logits (tokens x vocabulary) and their softmax are often the largest tensors of a step. The
gradient of cross-entropy with respect to hidden states and output weight is known as soon as a chunk's logits
are, so it is accumulated there and the logits are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class ChunkedLinear(nn.Linear):
    """An output layer that can hand its input through, so that the loss is computed from hidden states."""

    chunk: int  #: tokens whose logits exist at once
    deferring: bool

    @classmethod
    def adopt(cls, layer: nn.Linear, chunk: int) -> None:
        """Turn a linear layer into this class in place; names and parameters stay."""
        layer.__class__ = cls
        layer.chunk, layer.deferring = chunk, False  # type: ignore[assignment]

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While the context lasts the layer returns its input, shape (..., in_features)."""
        self.deferring = True
        try:
            yield
        finally:
            self.deferring = False

    def forward(self, x: Tensor) -> Tensor:
        if self.deferring:
            return x
        return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)

    def loss(self, hidden: Tensor, targets: Tensor, ignore_index: int, reduction: str = "mean") -> Tensor:
        """Cross-entropy of ``targets`` (tokens,) given ``hidden`` (tokens, in_features)."""
        narrow = hidden.to(self.weight.dtype)  # a frozen weight may be narrower than what flows
        return chunked_cross_entropy(narrow, self.weight, self.bias, targets, self.chunk, ignore_index, reduction)


def deferring_head(model: nn.Module) -> ChunkedLinear | None:
    """The model's output layer if it computes its loss in chunks."""
    return next((m for m in model.modules() if isinstance(m, ChunkedLinear)), None)


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    chunk: int,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """``cross_entropy(hidden @ weight.T + bias, targets)`` with logits for at most ``chunk`` tokens alive.

    ``hidden`` (tokens, width), ``weight`` (vocabulary, width), ``targets`` (tokens,) integers; the result is a
    float32 scalar. ``reduction`` is ``mean`` (over counted targets) or ``sum``. Differentiable once.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction {reduction!r} is neither mean nor sum")
    learning = torch.is_grad_enabled()
    return _Chunked.apply(hidden, weight, bias, targets, chunk, ignore_index, reduction == "mean", learning)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        chunk: int,
        ignore_index: int,
        mean: bool,
        learning: bool,
    ) -> Tensor:
        wanted = [learning and needed for needed in ctx.needs_input_grad[:3]]
        gradients = [
            torch.empty_like(hidden) if wanted[0] else None,
            torch.zeros_like(weight) if wanted[1] else None,
            torch.zeros_like(bias) if bias is not None and wanted[2] else None,
        ]
        counted = targets != ignore_index
        share = counted.float() / counted.sum() if mean else counted.float()
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            loss, gradient = _chunk(hidden[rows], weight, bias, targets[rows].clamp(min=0), share[rows], any(wanted))
            total = total + loss
            if gradient is not None:
                _accumulate(gradients, gradient, hidden[rows], weight, rows)
                del gradient
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the chunked loss can be differentiated once; its gradients were given away")
        for gradient in gradients:
            if gradient is not None:
                gradient.mul_(outer[0])  # a scaled copy of the weight's gradient would undo what the chunks saved
        return (*gradients, *[None] * (len(ctx.needs_input_grad) - len(gradients)))


def _chunk(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, share: Tensor, learning: bool
) -> tuple[Tensor, Tensor | None]:
    """Loss of some tokens and its gradient by their logits, in the one buffer that held the logits."""
    logits = nn.functional.linear(hidden, weight, bias).float()
    logits.sub_(logits.amax(1, keepdim=True))
    chosen = logits.gather(1, targets[:, None])[:, 0]
    logits.exp_()
    sums = logits.sum(1)
    loss = ((sums.log() - chosen) * share).sum()
    if not learning:
        return loss, None
    logits.mul_((share / sums)[:, None])
    logits.scatter_add_(1, targets[:, None], -share[:, None])
    return loss, logits


def _accumulate(gradients: list[Tensor | None], gradient: Tensor, hidden: Tensor, weight: Tensor, rows: slice) -> None:
    by_hidden, by_weight, by_bias = gradients
    if by_bias is not None:
        by_bias.add_(gradient.sum(0))
    gradient = gradient.to(weight.dtype)
    if by_hidden is not None:
        torch.mm(gradient, weight, out=by_hidden[rows])
    if by_weight is not None:
        by_weight.addmm_(gradient.t(), hidden)
