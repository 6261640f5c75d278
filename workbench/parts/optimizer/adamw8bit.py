"""AdamW with block-wise 8-bit state (Dettmers et al., 2022), from the bitsandbytes library.

Tensors under 4,096 elements keep 32-bit state, as the library does by default.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AdamW8bit:
    """A quarter of AdamW's state bytes; slower than the fused fp32 kernel on a CPU."""

    weight_decay: float = 0.01

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        # The library prints advice about optional kernels when it is imported.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            from bitsandbytes.optim import AdamW8bit as Library

        optimizer: torch.optim.Optimizer = Library(parameters, lr=lr, weight_decay=self.weight_decay)
        return optimizer


Rule = AdamW8bit
