"""Things found by walking their folder and by entry points; nothing is listed by hand."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from workbench.core.errors import BadInput, UnknownName
from workbench.core.own_file import executed, named

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind.

    ``package`` is walked once, on first use; every module in it registers what it defines. Then entry
    points of ``group`` are loaded, so a method may live in any installed distribution, and the files that
    the environment variable ``variable`` lists, so it need not be installed at all. What does not load is
    kept in ``failed`` with its reason; ``files`` says which name came from which file of the user's own.
    """

    def __init__(self, kind: str, package: str, group: str = "", variable: str = "") -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self.variable = variable
        self.files: dict[str, Path] = {}
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
        for name in named(self.variable):
            try:
                self.load(name)
            except BadInput as error:
                self.failed[name] = str(error)

    def load(self, file: str | Path) -> list[str]:
        """Run a Python file of the user's own and return the names it registers; processes started later know them too.

        A file that was changed may be loaded again: its names then mean what it says now. Raises ``BadInput``, and
        leaves everything as it was, for a file that is not there, does not run, registers nothing, or takes a name
        that another file has.
        """
        self.discover()
        path = Path(file).expanduser().absolute()
        before, own = dict(self._items), {name for name, origin in self.files.items() if origin == path}
        self._items = {name: item for name, item in before.items() if name not in own}
        others = dict(self._items)
        try:
            executed(path, self.kind)
            new = [name for name, item in self._items.items() if others.get(name) is not item]
            if not new:
                raise BadInput(f"{self.kind} file", path.name, f"a file that registers a {self.kind}")
            taken = [name for name in new if name in others]
            if taken:
                raise BadInput("name", taken[0], f"a name that no other {self.kind} has")
        except BadInput:
            self._items = before
            raise
        self.files = {name: origin for name, origin in self.files.items() if origin != path} | dict.fromkeys(new, path)
        self.failed.pop(str(path), None)
        if self.variable:
            os.environ[self.variable] = os.pathsep.join(dict.fromkeys([*named(self.variable), str(path)]))
        return sorted(new)

    def names(self) -> list[str]:
        self.discover()
        return sorted(self._items)

    def get(self, name: str) -> T:
        self.discover()
        if name not in self._items:
            raise UnknownName(self.kind, name, self._items, self.failed.values())
        return self._items[name]

    def __iter__(self) -> Iterator[T]:
        return (self._items[name] for name in self.names())

    def __contains__(self, name: str) -> bool:
        self.discover()
        return name in self._items

    def __len__(self) -> int:
        self.discover()
        return len(self._items)
