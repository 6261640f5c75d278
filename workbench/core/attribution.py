"""Say on whose behalf an operator runs where no call of a module and no autograd node shows it: in a captured graph.

Nobody watching costs one list check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from workbench.core.profile import Phase


class Watcher(Protocol):
    """Who wants to know."""

    def at(self, phase: Phase | None, module: str | None) -> None:
        """What runs from here belongs to this phase and module; ``None`` ends it."""
        ...

    def made_gradient(self, gradient: Any, module: str) -> None:
        """This tensor is the complete gradient of a parameter of ``module``."""
        ...


_watchers: list[Watcher] = []


def watched() -> bool:
    """Whether anybody wants to know."""
    return bool(_watchers)


def at(phase: Phase | None, module: str | None) -> None:
    for watcher in _watchers:
        watcher.at(phase, module)


def made_gradient(gradient: Any, module: str) -> None:
    for watcher in _watchers:
        watcher.made_gradient(gradient, module)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """``watcher`` hears of every operator of a captured graph while the context lasts."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
