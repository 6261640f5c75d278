"""Pack what autograd keeps for the backward pass: float32 to bfloat16, or either to int8 with one scale per row.

Works through ``torch.autograd.graph.saved_tensors_hooks``. Left as they are: parameters, buffers and inputs (they
live anyway), integers, small tensors, and row statistics (log-sum-exp of attention, mean and deviation of norms),
in which a small error would be a large one in the gradient.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Format = Literal["bf16", "int8"]

_SOURCES: dict[Format, tuple[torch.dtype, ...]] = {
    "bf16": (torch.float32,),
    "int8": (torch.float32, torch.bfloat16),
}
SMALLEST = 4096  #: bytes below which packing is not worth a call
ROW = 32  #: fewest elements that share a scale
PIECE = 2**15  #: elements encoded at once, so that encoding needs no second copy of the tensor


@dataclass(frozen=True)
class Packed:
    """A storage's content in few bytes: ``values`` in memory order, ``scales`` one per row for int8."""

    values: Tensor
    scales: Tensor | None
    dtype: torch.dtype

    def unpacked(self) -> Tensor:
        """The content again in its own dtype, flat."""
        wide = self.values.to(self.dtype)
        return wide if self.scales is None else wide.mul_(self.scales).view(-1)


@dataclass(frozen=True)
class View:
    """How a saved tensor lies in its storage's packed content."""

    packed: Packed
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def encode(flat: Tensor, row: int, form: Format) -> Packed:
    """Pack a flat floating-point tensor; ``row`` divides its length."""
    if form == "bf16":
        return Packed(flat.bfloat16(), None, flat.dtype)
    rows = flat.view(-1, row)
    scales = torch.maximum(rows.amax(1, keepdim=True), rows.amin(1, keepdim=True).neg_()).float()
    scales.clamp_(min=torch.finfo(torch.float32).tiny).div_(127)
    values = torch.empty(rows.shape, dtype=torch.int8, device=flat.device)
    count = max(1, PIECE // row)
    for piece, scale, packed in zip(rows.split(count), scales.split(count), values.split(count), strict=True):
        steps = piece.div(scale)
        signs = steps.sign()
        # What is not zero never becomes zero: an activation's mask is read off its saved result.
        packed.copy_(steps.abs_().round_().clamp_(min=1).mul_(signs))
    return Packed(values, scales, flat.dtype)


def row_length(tensor: Tensor) -> int:
    """Elements per scale: the innermost dimensions in memory order, as many as make at least ``ROW``."""
    length = 1
    for size, _ in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda d: (d[1], d[0])):
        length *= size
        if length >= ROW:
            break
    return length


class SavedTensorPacker(saved_tensors_hooks):
    """Context in which saved tensors are packed, each storage once however many operators save it.

    ``kept`` are tensors that live through the step anyway.
    """

    def __init__(self, form: Format, kept: Iterable[Tensor]) -> None:
        super().__init__(self._pack, _unpack)
        self._form: Format = form
        self._kept = {t.untyped_storage()._cdata for t in kept}
        self._known: dict[tuple[int, int], tuple[weakref.ref[torch.UntypedStorage], weakref.ref[Packed]]] = {}
        self._recent: deque[tuple[int, ...]] = deque(maxlen=6)

    def _pack(self, tensor: Tensor) -> Tensor | View:
        statistics = any(tuple(tensor.shape) in (shape[:-1], (*shape[:-1], 1)) for shape in self._recent)
        self._recent.append(tuple(tensor.shape))
        if statistics or not self._worthwhile(tensor):
            return tensor
        return View(self._packed(tensor), tuple(tensor.shape), tuple(tensor.stride()))

    def _worthwhile(self, tensor: Tensor) -> bool:
        if tensor.dtype not in _SOURCES[self._form] or tensor.ndim < 2 or tensor.layout is not torch.strided:
            return False
        storage = tensor.untyped_storage()
        whole = tensor.numel() * tensor.element_size() == storage.nbytes()
        dense = whole and torch.ops.aten.is_non_overlapping_and_dense.default(tensor)
        return dense and storage.nbytes() >= SMALLEST and storage._cdata not in self._kept

    def _packed(self, tensor: Tensor) -> Packed:
        storage = tensor.untyped_storage()
        key = storage._cdata, tensor._version
        found = self._known.get(key)
        if found is not None and found[0]() is not None:
            packed = found[1]()
            if packed is not None:
                return packed
        with torch.no_grad():
            packed = encode(tensor.as_strided((tensor.numel(),), (1,)), row_length(tensor), self._form)
        self._known[key] = weakref.ref(storage), weakref.ref(packed)
        return packed


def _unpack(saved: Tensor | View) -> Tensor:
    if isinstance(saved, Tensor):
        return saved
    with torch.no_grad():
        return saved.packed.unpacked().as_strided(saved.shape, saved.stride)
