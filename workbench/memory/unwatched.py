"""What torch does differently as soon as a dispatch mode watches, put back to what a bare step does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from workbench.core.errors import Incompatible
from workbench.core.operators import brought_by
from workbench.memory.patched import patched

_bare_max_pool1d = torch.max_pool1d


_aten = torch.ops.aten
ADD, ADD_IN_PLACE = _aten.add.Tensor, _aten.add_.Tensor
#: What backward formulas do out of place, into zeros of their own, only because a mode watches (of a gather, a mask).
SCATTERS: dict[Any, Any] = {
    _aten.scatter_add.default: _aten.scatter_add_.default,
    _aten.scatter.src: _aten.scatter_.src,
    _aten.index_put.default: _aten.index_put_.default,
    _aten._index_put_impl.default: _aten._index_put_impl_.default,
}


_OF_A_TENSOR = frozenset({_aten._local_scalar_dense.default, _aten.view.default})
TRACED = (
    "torch hands the numbers of a graph that is traced while a step is watched to operators that take tensors only; "
    "trace before the step, not in it"
)


def refuse_bare_numbers(func: Any, args: Any) -> None:
    """Raise ``Incompatible`` where torch calls an operator with the bare number of a graph traced in this step."""
    if func in _OF_A_TENSOR and not isinstance(args[0], Tensor):
        raise Incompatible("step", "torch.jit.trace", TRACED)


def accumulates(first: Tensor, node: Any, older: bool) -> bool:
    """Whether the engine is summing two gradients of one tensor and owns ``first`` alone.

    Without a dispatch mode it then adds in place; with one it never does, which would raise the peak. ``older`` says
    that ``first`` was made by another node than the one at work.
    """
    if first._use_count() > 4 or torch._C._storage_Use_Count(first.untyped_storage()._cdata) > 2:
        return False
    if not _aten.is_non_overlapping_and_dense.default(first):
        return False
    if older:
        return True
    nexts = [edge for edge in node.next_functions if edge[0] is not None]
    return len(set(nexts)) < len(nexts)


@torch.library.custom_op("pintpot::max_pool1d", mutates_args=())
def _max_pool1d(
    input: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Tensor:
    return _bare_max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode)


brought_by(__name__, "pintpot::max_pool1d")


@_max_pool1d.register_fake
def _(
    input: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Tensor:
    flat: Any = [[1, *stride], [0, *padding], [1, *dilation]]
    shape = max_pool2d(input.unsqueeze(-2), [1, *kernel_size], *flat, ceil_mode).squeeze(-2).shape
    return input.new_empty(shape)


def _listed(value: int | list[int] | tuple[int, ...]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


@contextmanager
def lean_pooling() -> Iterator[None]:
    """Without gradients a bare ``max_pool1d`` keeps no indices; watched it would, 8 bytes an element."""

    def max_pool1d(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Tensor:
        if torch.is_grad_enabled() and input.requires_grad:
            return _bare_max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode)
        size = _listed(kernel_size)
        steps = _listed(stride) if stride else size
        return _max_pool1d(input, size, steps, _listed(padding), _listed(dilation), ceil_mode)

    with patched(torch, max_pool1d=max_pool1d):
        yield


@contextmanager
def known_random_state(know: Callable[[torch.UntypedStorage], Any]) -> Iterator[None]:
    """Checkpointing keeps generator states, tensors that are made without any dispatch; ``know`` hears of them."""
    original = torch.get_rng_state

    def get_rng_state() -> Tensor:
        state = original()
        know(state.untyped_storage())
        return state

    with patched(torch, get_rng_state=get_rng_state), patched(torch.random, get_rng_state=get_rng_state):
        yield


@contextmanager
def known_storages(
    made: Callable[[torch.UntypedStorage], Any], shared: Callable[[torch.UntypedStorage], Any]
) -> Iterator[None]:
    """Storages that Python makes without a tensor, or moves into shared memory, go past the dispatcher.

    ``made`` and ``shared`` hear of them. A storage without data is only marked as shared.
    """
    kind = torch.UntypedStorage
    make, share = kind.__new__, kind.share_memory_

    def new(cls: Any, *args: Any, **kwargs: Any) -> torch.UntypedStorage:
        storage: torch.UntypedStorage = make(cls, *args, **kwargs)
        made(storage)
        return storage

    def share_memory_(self: torch.UntypedStorage) -> torch.UntypedStorage:
        already = self.is_shared() or "shared" in self.__dict__
        if "unknown" not in self.__dict__:
            share(self)
        if not already:
            self.shared = True
            shared(self)
        return self

    with patched(kind, __new__=new, share_memory_=share_memory_):
        yield
