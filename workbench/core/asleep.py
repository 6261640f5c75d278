"""torch's compiler sleeps until something compiles: a second of every process that builds or predicts a step.

torch's fake tensors read two flags of ``torch._dynamo.config``, and its optimizers and transformers' caches mark
functions that a compiler has to leave alone; either imports the whole compiler, though nothing here ever compiles.
Asleep, the package knows its flags and what was marked, and no more. Whatever else is asked of it loads it whole,
in place, as ``importlib.util.LazyLoader`` does; ``torch.compile`` then works as ever and leaves alone what was marked.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import FunctionType, ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
#: Modules of it that need nothing of the rest.
_AWAKE = {f"{_COMPILER}.{name}" for name in ("config", "_trace_wrapped_higher_order_op")}
_waking = threading.RLock()
_loading: list[int] = []  #: the thread that loads it
_unheard: list[tuple[str, Any]] = []


class Asleep(ModuleType):
    """The package before anything asked for more than its flags."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or (_loading and _loading[0] == threading.get_ident()):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")  # import itself looks for it
        wake()
        return getattr(self, name)

    def disable(self, function: Any = None, *args: Any, **settings: Any) -> Any:
        """Mark ``function`` to be left alone; without one, the decorator that does."""
        if function is None:
            return lambda function: _left_alone(function, args, settings)
        return _left_alone(function, args, settings)

    def graph_break(self, *_: Any, **__: Any) -> None:
        """Asleep, there is no graph to break."""

    def allow_in_graph(self, function: Any) -> Any:
        """Marks of these two kinds return the function itself: the compiler hears of them when it wakes."""
        _unheard.append(("allow_in_graph", function))
        return function

    def assume_constant_result(self, function: Any) -> Any:
        _unheard.append(("assume_constant_result", function))
        return function


def _left_alone(function: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """``function``, of which the compiler learns when it is called while there is one: asleep, nothing compiles it."""

    def marked() -> Any:
        return sys.modules[_COMPILER].disable(function, *args, **settings)

    if not isinstance(function, FunctionType):  # a module or class is marked in ways of its own
        wake()
        return marked()
    once = functools.cache(marked)

    @functools.wraps(function)
    def left_alone(*arguments: Any, **named: Any) -> Any:
        asleep = isinstance(sys.modules[_COMPILER], Asleep)
        return (function if asleep else once())(*arguments, **named)

    return left_alone


def wake() -> None:
    """Load the compiler whole, where its sleeping package stands; other threads wait until it is there."""
    with _waking:
        package = sys.modules.get(_COMPILER)
        if _loading or not isinstance(package, Asleep):
            return
        assert package.__spec__ is not None and package.__spec__.loader is not None
        _loading.append(threading.get_ident())
        try:
            package.__spec__.loader.exec_module(package)
            package.__class__ = ModuleType  # type: ignore[assignment]  # only now: other threads were to wait
        finally:
            _loading.clear()
        while _unheard:
            mark, function = _unheard.pop()
            getattr(package, mark)(function)


class _Sleeping(Loader):
    def __init__(self, package: ModuleSpec) -> None:
        self.package = package

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Asleep(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run; the package's own loader is kept for ``wake``."""
        module.__spec__, module.__loader__, module.__file__ = self.package, self.package.loader, self.package.origin


class _Present(Loader):
    """Answers an import with a module that waking the package has brought already."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _COMPILER:
            package = PathFinder.find_spec(name, path)
            if package is None or package.loader is None:
                return None
            asleep = ModuleSpec(name, _Sleeping(package), origin=package.origin)
            asleep.submodule_search_locations = package.submodule_search_locations
            return asleep
        if name.startswith(f"{_COMPILER}.") and name not in _AWAKE and isinstance(sys.modules.get(_COMPILER), Asleep):
            wake()
            if (module := sys.modules.get(name)) is not None:
                spec = ModuleSpec(name, _Present(module))
                module.__spec__ = None  # import takes the spec of a module that appeared meanwhile, and runs it anew
                return spec
        return None


def sleep() -> None:
    """From now on ``torch._dynamo`` is imported asleep, unless it is there already."""
    if _COMPILER not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
