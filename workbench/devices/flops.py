"""Operations of operators that torch's own table leaves out, added to that table when this module is imported."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula, sdpa_backward_flop, sdpa_flop

_aten: Any = torch.ops.aten

# The fused attention of CPUs; its relatives on accelerators are in the table, it is not.
for _operator, _formula in (
    (_aten._scaled_dot_product_flash_attention_for_cpu, sdpa_flop),
    (_aten._scaled_dot_product_flash_attention_for_cpu_backward, sdpa_backward_flop),
):
    if _operator not in flop_registry:
        register_flop_formula(_operator, get_raw=True)(_formula)

__all__ = ["flop_registry"]
