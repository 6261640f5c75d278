"""AdamW with block-wise 8-bit state (Dettmers et al., 2022), from the bitsandbytes library.

Tensors under 4,096 elements keep 32-bit state, as the library does by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from workbench.nn.bitsandbytes_library import bitsandbytes


@dataclass(frozen=True)
class AdamW8bit:
    """A quarter of AdamW's state bytes; slower than the fused fp32 kernel on a CPU."""

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        """Import the library already: tables that it makes for itself then are no part of any step."""
        bitsandbytes()

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        library = bitsandbytes().optim.AdamW8bit
        optimizer: torch.optim.Optimizer = library(parameters, lr=lr, weight_decay=self.weight_decay)
        return optimizer


Rule = AdamW8bit
