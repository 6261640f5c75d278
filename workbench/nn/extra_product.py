"""A trained slice as a second product beside a frozen layer: what a slice costs that is not part of its weight.

Research code of sparse tuning often does this. The second product costs operations in every pass, and the narrow view
of the input that it saves keeps the whole input alive. It is the lazy arm beside :mod:`workbench.nn.sliced_linear`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class ExtraProduct(nn.Module):
    """``x W^T + b + x[..., :channels] D^T`` with only ``D`` trained, which begins at zero.

    ``delta`` has the shape (channels, out features).
    """

    def __init__(self, source: nn.Linear, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight, self.bias = source.weight, source.bias
        self.delta = nn.Parameter(torch.zeros(channels, source.out_features, dtype=source.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (..., in features) to (..., out features)."""
        return linear(x, self.weight, self.bias) + x[..., : self.channels] @ self.delta
