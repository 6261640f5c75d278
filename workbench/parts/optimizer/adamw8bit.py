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

    def __post_init__(self) -> None:
        """Import the library already: tables that it makes for itself then are no part of any step."""
        # It prints advice about optional kernels.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import bitsandbytes.optim  # noqa: F401

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        from bitsandbytes.optim import AdamW8bit as Library

        optimizer: torch.optim.Optimizer = Library(parameters, lr=lr, weight_decay=self.weight_decay)
        return optimizer


Rule = AdamW8bit
