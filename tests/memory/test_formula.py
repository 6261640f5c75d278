"""Workspace by formula is what the kernels take, for the kernels that the formulas speak of."""

from __future__ import annotations

import pytest
import torch

from workbench.memory import ledger
from workbench.memory.formula import inside_by_formula

aten = torch.ops.aten
pytestmark = pytest.mark.skipif(not ledger.available(), reason="needs the counting allocator")


def strided(batch, rows, columns, conjugate=False):
    """Matrices whose batch runs fastest, as a product over frequencies has them."""
    made = torch.randn(rows, columns, batch, dtype=torch.complex64).permute(2, 0, 1)
    return made.conj() if conjugate else made


def bf16(*shape):
    return torch.randn(shape).bfloat16()


CASES = {
    "sum in double": (aten.sum.default, (torch.randn(5000),), {"dtype": torch.float64}),
    "sum of a mask": (aten.sum.dim_IntList, (torch.ones(40, 300, dtype=torch.bool), [1]), {}),
    "sum as it is": (aten.sum.default, (torch.randn(5000),), {}),
    "mean of narrow numbers": (aten.mean.dim, (bf16(16, 17, 64)[:, 1:], [1]), {}),
    "a few rows": (aten.mm.default, (bf16(68, 64), bf16(128, 64).T), {}),
    "rows shared out evenly": (aten.mm.default, (bf16(272, 64), bf16(128, 64).T), {}),
    "conjugates written out": (aten.bmm.default, (strided(16, 17, 4, True), strided(16, 4, 4)), {}),
    "pairs with gaps": (aten.bmm.default, (strided(16, 68, 4), strided(16, 4, 8)), {}),
    "both": (aten.bmm.default, (strided(16, 68, 8), strided(16, 8, 4, True)), {}),
    "patches": (aten.convolution.default,
                (torch.randn(1, 3, 16, 16), torch.randn(64, 3, 4, 4), None, [4, 4], [0, 0], [1, 1], False, [0, 0], 1),
                {}),
    "wavelets of a small matrix": (aten.convolution.default,
                                   (torch.randn(1, 4, 32, 32), torch.randn(4, 1, 2, 2), None, [2, 2], [0, 0], [1, 1],
                                    True, [0, 0], 1), {}),
    "small wavelets back": (aten.convolution_backward.default,
                            (torch.randn(1, 1, 96, 96), torch.randn(1, 4, 48, 48), torch.randn(4, 1, 2, 2), [0],
                             [2, 2], [0, 0], [1, 1], True, [0, 0], 1, [True, False, False]), {}),
    "wavelets back": (aten.convolution_backward.default,
                      (torch.randn(1, 1, 384, 384), torch.randn(1, 4, 192, 192), torch.randn(4, 1, 2, 2), [0], [2, 2],
                       [0, 0], [1, 1], True, [0, 0], 1, [True, False, False]), {}),
}  # fmt: skip


#: Kernels of oneDNN, which chooses by the processor.
CHOSEN = {"a few rows", "rows shared out evenly", "patches", "wavelets back"}


@pytest.mark.parametrize("name", CASES)
def test_a_formula_is_what_the_kernel_takes(name):
    if name in CHOSEN and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("the formula was read off another kind of processor")
    func, args, kwargs = CASES[name]
    func(*args, **kwargs)
    with ledger.counting() as count:
        result = func(*args, **kwargs)
        made = sum(t.untyped_storage().nbytes() for t in (result if isinstance(result, tuple) else [result])
                   if t is not None)  # fmt: skip
        taken = count.peak - made
    expected, _ = inside_by_formula(func, args, kwargs, result)
    # A scalar or a list of sizes of a few bytes may come and go in any operator.
    assert taken == pytest.approx(expected, abs=64), name
    assert bool(expected) == (name != "sum as it is")
