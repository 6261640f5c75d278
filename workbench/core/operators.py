"""Which module brings an operator that is not torch's own, so that another process can have it too."""

from __future__ import annotations

import importlib

_HOMES: dict[str, str] = {}


def brought_by(home: str, *operators: str) -> None:
    """Say where operators, named like ``pintpot::with_noise``, come from.

    ``home`` is a module that has them once it is imported, or ``module:function``, which must be called for them.
    """
    _HOMES.update(dict.fromkeys(operators, home))


def home_of(operator: str) -> str:
    """Where an operator comes from; empty for those that nobody spoke of, torch's own above all."""
    return _HOMES.get(operator, "")


def fetch(home: str) -> None:
    """Have the operators of a home in this process."""
    module, _, function = home.partition(":")
    found = importlib.import_module(module)
    if function:
        getattr(found, function)()
