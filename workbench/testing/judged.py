"""The contract without pytest: every check of a method with what it found, for a notebook or a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.methods.base import methods
from workbench.testing.contract import CHECKS, checks_of
from workbench.testing.subject import Subject, subject_of


@dataclass(frozen=True)
class Judged:
    """One check: its name, what it asks, and why it does not hold; ``objection`` is empty when it does."""

    check: str
    asks: str
    objection: str

    @property
    def holds(self) -> bool:
        return not self.objection


def judged(method: str, settings: Mapping[str, Any] | None = None) -> list[Judged]:
    """All checks that apply to ``method``, on the first tiny model it serves; takes some seconds.

    ``settings`` take the place of its defaults. Raises ``UnknownName`` for the method and ``BadInput`` for settings.
    """
    if settings:
        methods.get(method).configure(**settings)
    subject = subject_of(method) or Subject(method)
    if settings:
        subject = Subject(method, subject.model_name, settings)
    return [Judged(name, _asks(name), _objection(name, subject)) for name in checks_of(method)]


def _asks(name: str) -> str:
    return " ".join((CHECKS[name].__doc__ or "").split())


def _objection(name: str, subject: Subject) -> str:
    """One line; whatever a method of somebody else raises is an objection too."""
    try:
        CHECKS[name](subject)
    except AssertionError as error:
        return " ".join(str(error).split())[:300] or "it does not hold"
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return ""
