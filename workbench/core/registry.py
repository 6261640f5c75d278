"""Things found by walking their folder and by entry points; nothing is listed by hand."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from workbench.core.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind.

    ``package`` is walked once, on first use; every module in it registers what it defines. Then entry
    points of ``group`` are loaded, so a method may live in any installed distribution.
    """

    def __init__(self, kind: str, package: str, group: str = "") -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self._items: dict[str, T] = {}
        self._loaded = False
        self.failed: dict[str, str] = {}

    def add(self, name: str, item: T) -> T:
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of :meth:`add`."""
        return lambda item: self.add(name, item)

    def discover(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
        if self.group:
            for point in entry_points(group=self.group):
                try:
                    point.load()
                except Exception as error:  # a broken plug-in must not take the listing with it; doctor shows it
                    self.failed[point.name] = f"{type(error).__name__}: {error}"

    def names(self) -> list[str]:
        self.discover()
        return sorted(self._items)

    def get(self, name: str) -> T:
        self.discover()
        if name not in self._items:
            raise UnknownName(self.kind, name, self._items)
        return self._items[name]

    def __iter__(self) -> Iterator[T]:
        return (self._items[name] for name in self.names())

    def __contains__(self, name: str) -> bool:
        self.discover()
        return name in self._items

    def __len__(self) -> int:
        self.discover()
        return len(self._items)
