"""Operations of operators that torch's own table leaves out or gets wrong, put into it when this module is imported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import (
    conv_flop_count,
    flop_registry,
    register_flop_formula,
    sdpa_backward_flop,
    sdpa_flop,
)

_aten: Any = torch.ops.aten

# The fused attention of CPUs; its relatives on accelerators are in the table, it is not.
for _operator, _formula in (
    (_aten._scaled_dot_product_flash_attention_for_cpu, sdpa_flop),
    (_aten._scaled_dot_product_flash_attention_for_cpu_backward, sdpa_backward_flop),
):
    if _operator not in flop_registry:
        register_flop_formula(_operator, get_raw=True)(_formula)


def convolution_backward_flop(
    grad_shape: Sequence[int],
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """Each of the gradients of input and weight takes the products of the forward pass once.

    torch's own formula counts the weight's without regard to groups: of a depthwise convolution as many times too
    high as it has channels.
    """
    forward: int = conv_flop_count(list(input_shape), list(weight_shape), list(grad_shape), transposed=transposed)
    return forward * (output_mask[0] + output_mask[1])


flop_registry.pop(_aten.convolution_backward, None)
register_flop_formula(_aten.convolution_backward)(convolution_backward_flop)


def grouped_mm_flop(first: Sequence[int], second: Sequence[int], *_: Any, **__: Any) -> int:
    """Products of groups of rows, as a mixture of experts takes them: each row meets the matrix of its group alone."""
    rows = math.prod(first[-2:]) * (first[0] if len(first) == len(second) == 3 else 1)
    return 2 * rows * second[-1]


if _aten._grouped_mm not in flop_registry:
    register_flop_formula(_aten._grouped_mm)(grouped_mm_flop)

__all__ = ["flop_registry"]
