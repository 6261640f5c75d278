"""Run a model forward together with its derivative along noise in its weights (forward-mode differentiation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from workbench.core.errors import Incompatible
from workbench.engine.noise import numbered
from workbench.engine.perturbed import Perturbed


class Tangent(Perturbed):
    """``value, slope = Tangent(weights).by(noise).along(function)``: a number and its derivative along the noise.

    Noise is drawn for one call's weights at a time. Tangents double the activations that are alive; nothing is kept
    for a backward pass.
    """

    small = 0  # a copy made outside the dual level would have no tangent

    def along(self, function: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Value and directional derivative of a function that gives one number.

        Attention takes its plain form, since the fused CPU kernels have no forward derivative. Raises
        ``Incompatible`` where another operator has none.
        """
        try:
            with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), _no_custom_functions(), self:
                value, slope = forward_ad.unpack_dual(function())
        except NotImplementedError as error:
            raise Incompatible("gradient", "forward", str(error).split(". ")[0].splitlines()[0][:200]) from error
        return value, torch.zeros_like(value) if slope is None else slope

    def _copies(self, weights: list[Tensor]) -> list[Tensor]:
        return [forward_ad.make_dual(w.detach(), self.noise.like(w, numbered([self._numbers[id(w)]]))) for w in weights]

    def _embedding(self, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
        place = numbered([self._numbers[id(weight)]])
        return forward_ad.make_dual(F.embedding(input, weight.detach()), self.noise.rows_like(weight, place, input))

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        asked = [t for t in (weight, bias) if t is not None and id(t) in self._numbers]
        duals = dict(zip(map(id, asked), self._copies(asked)))
        return F.linear(input, duals[id(weight)], duals.get(id(bias), bias))


@contextmanager
def _no_custom_functions() -> Iterator[None]:
    """Refuse a library's own autograd function: weights that are read inside it lose their tangent in silence."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise Incompatible("gradient", "forward", f"{cls.__name__} of this method has no forward derivative")

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]
