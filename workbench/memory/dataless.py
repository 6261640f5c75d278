"""Tensors that say they lie on the CPU and hold no data: what a run without memory is made of.

Such a tensor is an ordinary one whose storage points into a region of address space that is never written,
so it costs nothing whatever its size. Views of it are real views. Its storage carries the mark ``unknown``,
which a storage keeps as long as any tensor uses it; a real one whose numbers were overwritten by something
unknown gets the same mark. A kernel that tries to write to it raises, one that reads finds zeros.
"""

from __future__ import annotations

import functools
import math
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.memory.patched import patched

_CPU = torch.device("cpu")
_REGIONS = (1 << 40, 1 << 36, 1 << 33)  #: bytes of address space: the first that the system grants
_storage = torch._C._construct_storage_from_data_pointer
_guard = torch._C._set_throw_on_mutable_data_ptr


@functools.cache
def _region() -> tuple[int, np.ndarray]:
    """Address of a region that nobody may write to and that is not counted as memory, and the region."""
    for size in _REGIONS:
        try:
            region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        except (OSError, OverflowError):  # the address space of this process is limited
            continue
        array = np.frombuffer(region, np.uint8)
        return array.ctypes.data, array
    raise MemoryError(f"no {_REGIONS[-1]} bytes of address space are left")


def dataless(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype, nbytes: int | None = None) -> Tensor:
    """A tensor of this layout at the beginning of a storage of ``nbytes`` (what the layout spans, if not given)."""
    if nbytes is None:
        nbytes = span(size, stride) * dtype.itemsize
    address, region = _region()
    if nbytes > region.size:
        raise MemoryError(f"a tensor of {nbytes} bytes")
    storage = _storage(address, _CPU, nbytes)
    storage.unknown = True
    made = torch.empty(0, dtype=dtype).set_(storage, 0, size, stride)
    _guard(made)
    return made


def span(size: Sequence[int], stride: Sequence[int]) -> int:
    """Elements from the first to the last of a layout."""
    return 1 + sum((n - 1) * s for n, s in zip(size, stride)) if math.prod(size) else 0


def known(tensor: Tensor) -> bool:
    """Whether the numbers in a tensor are those that a real step would have."""
    if tensor.layout is torch.sparse_coo:
        return known(tensor._indices()) and known(tensor._values())
    try:
        return "unknown" not in tensor.untyped_storage().__dict__
    except (NotImplementedError, RuntimeError):
        return True  # an opaque layout: nothing here makes one without data


def forget(tensor: Tensor) -> None:
    """Its numbers were overwritten by something unknown."""
    tensor.untyped_storage().unknown = True


def like(tensor: Tensor) -> Tensor:
    """A dataless tensor of the same layout and dtype, in a storage of its own."""
    return dataless(tensor.shape, tensor.stride(), tensor.dtype)


def with_data(tensor: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """A real tensor with the same layout, dtype and size of storage: zeros where unknown, else a copy.

    Tensors that share a storage share one in ``bases`` (by address) as well.
    """
    if tensor.layout is torch.sparse_coo:
        parts = with_data(tensor._indices(), bases), with_data(tensor._values(), bases)
        return torch.sparse_coo_tensor(*parts, tensor.shape, is_coalesced=tensor.is_coalesced(), check_invariants=False)
    storage = tensor.untyped_storage()
    base = bases.get(storage._cdata)
    if base is None:
        if "unknown" in storage.__dict__:
            base = torch.zeros(storage.nbytes(), dtype=torch.uint8)
        else:
            base = torch.empty(0, dtype=torch.uint8).set_(storage.clone())
        bases[storage._cdata] = base
    return placed(base.untyped_storage(), tensor)


def placed(storage: torch.UntypedStorage, layout: Tensor) -> Tensor:
    """A tensor in ``storage`` that lies there as ``layout`` lies in its own."""
    made = torch.empty(0, dtype=layout.dtype, device=storage.device)
    made = made.set_(storage, layout.storage_offset(), layout.shape, layout.stride())
    made = torch._conj(made) if layout.is_conj() else made
    return torch._neg_view(made) if layout.is_neg() else made


@contextmanager
def asked_about() -> Iterator[None]:
    """What goes past the dispatcher is put right: lists of numbers, and copies of storages that hold none.

    Numbers that are listed are read one by one, which the dispatcher hears of; a deep copy of a storage without data
    is one without data.
    """
    tolist, clone = torch.Tensor.tolist, torch.UntypedStorage.clone

    def listed(self: Tensor) -> Any:
        if known(self):
            return tolist(self)
        return [listed(part) for part in self.detach().unbind()] if self.ndim else self.item()

    def cloned(self: torch.UntypedStorage) -> torch.UntypedStorage:
        if "unknown" not in self.__dict__:
            return clone(self)
        return dataless((self.nbytes(),), (1,), torch.uint8).untyped_storage()

    with patched(torch.Tensor, tolist=listed), patched(torch.UntypedStorage, clone=cloned):
        yield
