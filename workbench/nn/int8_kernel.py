"""Load the int8 linear kernel: compiled once per machine, its shapes known to fake tensors."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from workbench.core.errors import ResourceMissing
from workbench.core.operators import brought_by

#: How the loops around the integer product are vectorised, by what torch says this processor has.
_FLAGS = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"),
    "AVX2": ("-mavx2", "-mfma"),
}


@functools.cache
def missing() -> str:
    """Why int8 layers cannot be fast (or cannot be had) here; empty when they can."""
    from workbench.memory.compiler import compiled

    if not torch.cpu._is_vnni_supported():
        return "this processor has no int8 dot-product instructions (VNNI), without which int8 is slower than float32"
    flags = _FLAGS.get(torch.backends.cpu.get_cpu_capability(), ())
    source = Path(__file__).parent / "csrc" / "int8_linear.cpp"
    try:
        torch.ops.load_library(str(compiled(source, ("c10", "torch_cpu"), ("-O3", *flags))))
    except (ResourceMissing, OSError) as error:
        return f"the int8 kernel cannot be made: {error}"
    brought_by(f"{__name__}:kernel", "pintpot_int8::linear", "pintpot_int8::linear_backward")
    torch.library.register_fake("pintpot_int8::linear", _linear_shape)
    torch.library.register_fake("pintpot_int8::linear_backward", _gradient_shape)
    register_flop_formula([torch.ops.pintpot_int8.linear, torch.ops.pintpot_int8.linear_backward])(_operations)
    return ""


def kernel() -> Any:
    """The operators: ``linear(x, weight, scale, bias)`` and ``linear_backward(gradient, weight, scale)``.

    ``weight`` is int8 (outputs, inputs), ``scale`` float32 (outputs,). Raises ``ResourceMissing`` with the reason.
    """
    reason = missing()
    if reason:
        raise ResourceMissing(reason)
    return torch.ops.pintpot_int8


def _operations(x_shape: Any, weight_shape: Any, *_: Any, **__: Any) -> int:
    """Multiplications and additions, counted like those of a float32 product."""
    return 2 * math.prod(x_shape[:-1]) * math.prod(weight_shape)


def _linear_shape(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _gradient_shape(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return gradient.new_empty((*gradient.shape[:-1], weight.shape[1]))
