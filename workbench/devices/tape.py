"""A step written down as a straight-line program: its operator calls in order, over tensors known by shape alone.

The program has no model, no autograd and no module in it. What it keeps of the step is what decides how long its
operators take beside their shapes: which operand was just written and which was last seen a step ago, which block
of memory is handed out again and which is fresh.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from workbench.core.operators import home_of

GENERATOR = "generator"  #: stands for a random number generator among the constants


@dataclass(frozen=True)
class Given:
    """A tensor that is there before the step: part of storage ``storage``, of ``size`` bytes.

    ``values`` are its numbers where they steer the step (positions, labels); other numbers are made up.
    ``state`` says that the update is the first to ask for it.
    """

    name: str
    storage: int
    size: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    values: torch.Tensor | None
    state: bool


@dataclass
class Line:
    """One statement. ``stand_in`` takes its place where the call cannot be made; then ``bytes`` are what it moves."""

    text: str
    operator: str = ""
    stand_in: str = ""
    bytes: int = 0


@dataclass
class Program:
    """A step as statements over named tensors; ``peak`` is the most bytes live in it, given ones included.

    ``homes`` bring the operators that are not torch's own.
    """

    given: list[Given] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    homes: set[str] = field(default_factory=set)
    peak: int = 0

    @property
    def source(self) -> str:
        """Python source of ``step(given, mark)``; operators are ``o0``.., constants ``c0``.., in its globals."""
        names = "".join(f"{g.name}, " for g in self.given)
        head = f"    {names}= given\n" if names else ""
        return "def step(given, mark):\n" + head + "".join(f"    {line.text}\n" for line in self.lines)

    @property
    def first_line(self) -> int:
        """Number of the source line that ``lines[0]`` is."""
        return 3 if self.given else 2


@dataclass
class _Storage:
    """One storage of the step: the names of tensors on it by geometry. It is not kept alive."""

    index: int
    size: int
    given: bool
    names: dict[tuple[Any, ...], str] = field(default_factory=dict)
    ended: weakref.ref[Any] | None = None


class Tape:
    """Writes a :class:`Program` while a step runs; told of every call after it, it holds no tensor of the step."""

    def __init__(self) -> None:
        self.program = Program()
        self._storages: dict[int, _Storage] = {}
        self._operators: dict[Any, str] = {}
        self._phase = ""
        self._count = self._made = self._live = 0

    def add(self, func: Any, args: Any, kwargs: Any, results: Any, phase: str, moved: int) -> None:
        """One call: its operator, arguments and results, and the bytes it moves."""
        if phase != self._phase:
            self.program.lines.append(Line(f"mark({phase!r})"))
            self._phase = phase
        operator = self._operators.get(func)
        if operator is None:
            operator = self._operators[func] = f"o{len(self.program.operators)}"
            self.program.operators.append(func.name())
            self.program.homes |= {home_of(func.name())} - {""}
        given = [self._text(a, phase) for a in args]
        given += [f"{k}={self._text(v, phase)}" for k, v in kwargs.items()]
        target = self._target(results)
        text = f"{target + ' = ' if target else ''}{operator}({', '.join(given)})"
        made = "; ".join(self._stand_ins(results)) or "pass"
        self.program.lines.append(Line(text, func.name(), made, moved))
        self.program.peak = max(self.program.peak, self._live)

    # -- writing -------------------------------------------------------------------------------------

    def _text(self, value: Any, phase: str) -> str:
        if isinstance(value, torch.Tensor):
            return self._operand(value, phase)
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._text(item, phase) for item in value)}]"
        if value is None or isinstance(value, bool | str):
            return repr(value)
        if isinstance(value, int | torch.SymInt):
            return repr(int(value))
        if isinstance(value, float) and math.isfinite(value):
            return repr(value)
        self.program.constants.append(GENERATOR if isinstance(value, torch.Generator) else value)
        return f"c{len(self.program.constants) - 1}"

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def _operand(self, tensor: torch.Tensor, phase: str) -> str:
        if tensor.layout is not torch.strided:
            return repr(str(tensor.layout))  # such a call cannot be made again; its stand-in will be
        raw = tensor.untyped_storage()
        storage = self._storages.get(raw._cdata)
        if storage is None:
            storage = self._know(raw, given=True)
        geometry = _geometry(tensor)
        name = storage.names.get(geometry)
        if name is None:
            name = storage.names[geometry] = self._name()
            if storage.given:
                self.program.given.append(self._given(tensor, name, storage, phase))
            else:  # a second tensor on it that no operator made
                base = next(iter(storage.names.values()))
                shape, stride, offset, _ = geometry
                self.program.lines.append(Line(f"{name} = {base}.as_strided({shape}, {stride}, {offset})"))
        return name

    @staticmethod
    def _given(tensor: torch.Tensor, name: str, storage: _Storage, phase: str) -> Given:
        steers = not tensor.is_floating_point() and not tensor.is_complex() and not isinstance(tensor, FakeTensor)
        # Packed weights are whole numbers too, but of a model that has none they are not known, and may be huge.
        known = not tensor.is_meta and "unknown" not in tensor.untyped_storage().__dict__
        values = tensor.detach().clone() if steers and known else None
        return Given(name, storage.index, storage.size, *_geometry(tensor), values, phase == "update")

    def _know(self, raw: torch.UntypedStorage, *, given: bool) -> _Storage:
        storage = _Storage(self._made, raw.nbytes(), given)
        self._made += 1
        self._live += storage.size
        key = raw._cdata

        def ended(_: Any) -> None:
            if self._storages.get(key) is storage:
                del self._storages[key]
                if not given:
                    self._live -= storage.size
                    self.program.lines.append(Line(f"del {', '.join(dict.fromkeys(storage.names.values()))}"))

        storage.ended = weakref.ref(raw, ended)
        self._storages[key] = storage
        return storage

    def _target(self, results: Any) -> str:
        """Left-hand side of the call."""
        if isinstance(results, torch.Tensor):
            return self._result(results)
        if isinstance(results, list | tuple) and any(isinstance(r, torch.Tensor) for r in results):
            return f"[{', '.join(self._target(r) or '_' for r in results)}]"
        return ""

    def _result(self, tensor: torch.Tensor) -> str:
        if tensor.layout is not torch.strided:
            return "_"
        raw = tensor.untyped_storage()
        storage = self._storages.get(raw._cdata) or self._know(raw, given=False)
        return storage.names.setdefault(_geometry(tensor), self._name())

    def _stand_ins(self, results: Any) -> Iterator[str]:
        if isinstance(results, torch.Tensor):
            if results.layout is torch.strided:
                shape, stride, _, dtype = _geometry(results)
                yield f"{self._result(results)} = empty_strided({shape}, {stride}, dtype={dtype})"
        elif isinstance(results, list | tuple):
            for result in results:
                yield from self._stand_ins(result)


def _geometry(tensor: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int, torch.dtype]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype
