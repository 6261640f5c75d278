"""The frozen prefix computed once per example: what it gives is kept and put in its place in later epochs.

The prefix is a fixed function of the example (frozen, without dropout), so its output can be looked up by the
content of the example's inputs. A step then goes in three parts: rows that are not kept are computed by a forward
pass that ends at the boundary; all rows are gathered; the model runs with every module of the prefix answering
with them at once. Whatever else the model makes of its inputs (masks, positions) it makes as always.

Memory: the highest step is one that finds nothing, and it is what predictions and measurements perform (see
``workbench.core.phase.at_its_most``). Gathering takes two copies of the rows at most, while the prefix itself
needs at least its input and its output for each, so a step that finds some or all of them stays below. The time
and the work that are predicted are those of a step that finds all; reading a file is not in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.phase import is_at_its_most, seldom
from workbench.core.profile import Category
from workbench.nn.prefix_identity import PrefixIdentity, place_of
from workbench.nn.row_store import KEY, Rows, RowsInMemory, rows_in_file

Place = Literal["ram", "disk"]
Forward = Callable[..., Any]


class _Reached(Exception):
    """Ends a forward pass at the boundary, carrying what arrived there."""

    def __init__(self, output: Any) -> None:
        self.output = output


class PrefixCache(nn.Module):
    """Holds at most ``examples`` rows; ``table`` exists from the first step on when they are kept in memory.

    Only training asks it. Evaluation computes the prefix: each test example is seen once or twice a run.
    """

    holds = Category.INPUTS
    table: Tensor | None

    def __init__(self, modules: Sequence[nn.Module], place: Place, examples: int) -> None:
        super().__init__()
        self.place, self.examples = place, examples
        self.table = None
        self.computed = self.found = 0  #: rows, since the beginning
        self._identity = PrefixIdentity(modules)
        self._rows: Rows | None = None
        self._given: Tensor | None = None  #: what the prefix answers with while the upper part runs
        self._reaching = self._asking = False
        for module in modules:
            self._stand_in(module, last=module is modules[-1])

    def _stand_in(self, module: nn.Module, *, last: bool) -> None:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._given is not None:
                return self._given
            result = original(*args, **kwargs)
            if last and self._reaching:
                raise _Reached(result)
            return result

        module.forward = forward  # type: ignore[method-assign]

    def serve(self, model: nn.Module) -> None:
        """Make ``model`` look up its prefix whenever it is called in training mode."""
        original = model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._given is not None or not model.training:
                return original(*args, **kwargs)
            output = self._output(original, args, kwargs)
            if self._asking:
                raise _Reached(output)
            with self.answering(output):
                return original(*args, **kwargs)

        model.forward = forward  # type: ignore[method-assign]

    def output_of(self, call: Callable[[], Any]) -> Tensor:
        """What the prefix gives for the inputs that ``call`` hands to the model; ``call`` is left at that point."""
        self._asking = True
        try:
            call()
        except _Reached as reached:
            found: Tensor = reached.output
            return found
        finally:
            self._asking = False
        raise Incompatible("prefix_cache", self.place, "the loss does not call the model in training mode")

    @contextmanager
    def answering(self, output: Tensor) -> Iterator[None]:
        """The prefix answers with ``output`` while the context lasts, whatever the model is called with."""
        self._given = output
        try:
            yield
        finally:
            self._given = None

    # -- what the prefix gives -----------------------------------------------------------------------

    def _output(self, original: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if is_at_its_most():
            output = self._computed(original, args, kwargs)
            if self.place == "ram" and self.table is None:
                self.table = _empty_table(output, self.examples)
            return output
        if self._identity.changed():
            self._rows = None
        keys = keys_of(args, kwargs)
        if self._rows is None:
            output = self._computed(original, args, kwargs)
            self._open(output)
            self._keep(keys, output)
            return output
        absent = self._rows.absent(keys)
        gathered = self._gathered(absent, keys, original, args, kwargs) if len(absent) < len(keys) else None
        if gathered is not None:
            self.found += len(keys) - len(absent)
            return self._shaped(gathered)
        output = self._computed(original, args, kwargs)
        self._keep(keys, output)
        return output

    def _gathered(
        self, absent: list[int], keys: list[bytes], original: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        """All rows, those that are absent computed first; ``None`` if a row that should be there is damaged.

        The order matters for the peak: while the prefix runs, no row has been gathered yet.
        """
        assert self._rows is not None
        fresh, chosen = None, torch.tensor(absent, dtype=torch.int64)
        if absent:
            fresh = self._computed(original, *_some((args, kwargs), chosen))
            self._keep([keys[i] for i in absent], fresh)
        rows, missing = self._rows.get(keys)
        if not set(missing) <= set(absent):
            return None
        return rows if fresh is None else rows.index_copy_(0, chosen, _flat(fresh))

    def _computed(self, original: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Run the model up to the boundary."""
        self._reaching = True
        try:
            with seldom():
                original(*args, **kwargs)
        except _Reached as reached:
            output = reached.output
        else:
            raise Incompatible("prefix_cache", self.place, "the model's forward pass does not go through its blocks")
        finally:
            self._reaching = False
        if not isinstance(output, Tensor):
            raise Incompatible("prefix_cache", self.place, "the blocks of this model hand on more than one tensor")
        self.computed += len(output)
        return output

    def _open(self, output: Tensor) -> None:
        flat, last = _flat(output), _is_channels_last(output)
        self._form = (output.shape[1:], last)
        if self.place == "ram":
            if self.table is None or self.table.shape[1] != flat.shape[1]:
                self.table = _empty_table(output, self.examples)
            self._rows = RowsInMemory(self.table)
        else:
            name = self._identity.name(tuple(output.shape[1:]), output.dtype, last)
            path = place_of(name, self.examples * flat.shape[1] * flat.element_size())
            self._rows = rows_in_file(path, flat.shape[1], flat.dtype, self.examples)

    def _keep(self, keys: Sequence[bytes], output: Tensor) -> None:
        if self._rows is not None and self._form == (output.shape[1:], _is_channels_last(output)):
            self._rows.put(keys, _flat(output))

    def _shaped(self, rows: Tensor) -> Tensor:
        """Rows as the tensor the prefix gives, in its memory layout."""
        shape, channels_last = self._form
        if channels_last:
            channels, *sides = shape
            return rows.view(len(rows), *sides, channels).permute(0, 3, 1, 2)
        return rows.view(len(rows), *shape)


def _is_channels_last(output: Tensor) -> bool:
    return output.ndim == 4 and not output.is_contiguous() and output.is_contiguous(memory_format=torch.channels_last)


def _flat(output: Tensor) -> Tensor:
    """One row per example, in memory order: a view."""
    ordered = output.permute(0, 2, 3, 1) if _is_channels_last(output) else output
    return ordered.reshape(len(output), -1)


def _empty_table(output: Tensor, examples: int) -> Tensor:
    return output.new_empty((examples, output[0].numel()))


def _some(value: Any, rows: Tensor) -> Any:
    """Arguments of a forward pass with these rows of every tensor."""
    if isinstance(value, Tensor):
        return value.index_select(0, rows) if value.ndim else value
    if isinstance(value, tuple):
        return tuple(_some(v, rows) for v in value)
    return {name: _some(v, rows) for name, v in value.items()} if isinstance(value, dict) else value


def keys_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[bytes]:
    """A key for every example of a batch: the hash of its rows of all inputs, with their names, dtypes and shapes.

    ``labels`` do not enter the prefix. Raises ``Incompatible`` for inputs that are not one row per example.
    """
    named = {**{str(i): v for i, v in enumerate(args)}, **kwargs}
    inputs = sorted((n, v) for n, v in named.items() if isinstance(v, Tensor) and n != "labels")
    counts = {v.shape[0] if v.ndim else 0 for _, v in inputs}
    if len(counts) != 1 or 0 in counts:
        raise Incompatible("prefix_cache", "on", "the model's inputs are not one row per example")
    hashes = [hashlib.sha256() for _ in range(counts.pop())]
    for name, tensor in inputs:
        head = f"{name} {tensor.dtype} {tuple(tensor.shape[1:])}".encode()
        values = tensor.detach().contiguous().view(len(tensor), -1).view(torch.uint8).numpy()
        for made, row in zip(hashes, values):
            made.update(head)
            made.update(row)
    return [made.digest()[:KEY] for made in hashes]
