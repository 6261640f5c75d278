"""Update rules, one per file; the file's name is the rule's name and its class is called ``Rule``."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from workbench.core.errors import UnknownName

if TYPE_CHECKING:
    from workbench.parts.base import Optimizer


def names() -> tuple[str, ...]:
    """Every update rule, by walking this folder; imports nothing."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def named(name: str) -> Optimizer:
    """The update rule of that name with its defaults."""
    if name not in names():
        raise UnknownName("optimizer", name, names())
    rule: Optimizer = importlib.import_module(f"{__name__}.{name}").Rule()
    return rule
