"""Sparse tensors in a run without data: real ones, whose indices are known and whose values are not.

How many entries a result has follows from indices alone, so operators on sparse tensors are run for real
with zeros for every unknown number, and the result is kept without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from workbench.memory.dataless import dataless, known, placed, with_data
from workbench.memory.shapes import mapped, without_generator
from workbench.memory.step import storages_of, tensors_in

#: Operators that put sparse tensors together or ask for their entries, and touch no number.
STRUCTURAL = frozenset(
    {
        torch.ops.aten._sparse_coo_tensor_with_dims_and_tensors.default,
        torch.ops.aten._nnz.default,
        torch.ops.aten.is_coalesced.default,
        torch.ops.aten._coalesced_.default,
    }
)


def run(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """The result of an operator some of whose operands are sparse, unknown numbers forgotten again."""
    bases: dict[int, Tensor] = {}
    originals: dict[int, Tensor] = {}

    def real(tensor: Tensor) -> Tensor:
        made = tensor if known(tensor) else with_data(tensor, bases)
        originals[id(made)] = tensor
        return made

    given = mapped((args, without_generator(kwargs)), real)
    own = [s for t in tensors_in((args, kwargs)) for s in storages_of(t) if s._cdata in bases]
    sources = {bases[s._cdata].untyped_storage()._cdata: s for s in own}
    result = func(*given[0], **given[1])
    return mapped(result, lambda t: originals[id(t)] if id(t) in originals else _forgotten(t, sources))


def _forgotten(tensor: Tensor, sources: Mapping[int, torch.UntypedStorage], indices: bool = False) -> Tensor:
    """``tensor`` without numbers, in the operand's storage where it lies in one of ``sources``."""
    if tensor.layout is torch.sparse_coo:
        parts = _forgotten(tensor._indices(), sources, True), _forgotten(tensor._values(), sources)
        return torch.sparse_coo_tensor(*parts, tensor.shape, is_coalesced=tensor.is_coalesced(), check_invariants=False)
    storage = tensor.untyped_storage()
    source = sources.get(storage._cdata)
    if source is None and indices:
        return tensor
    return placed(source or dataless((storage.nbytes(),), (1,), torch.uint8).untyped_storage(), tensor)
