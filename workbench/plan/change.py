"""One change to a case that makes it fit, and what to type for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.case import Case
from workbench.core.units import format_size


@dataclass(frozen=True)
class Change:
    """One way out, verified: ``case`` was predicted at ``peak`` bytes; ``source`` says by what.

    ``options`` are what the command line has to say in addition, or instead; empty where the case is not known.
    """

    sentence: str
    case: Case | None
    peak: int
    source: str = "predicted"
    options: str = ""

    @property
    def action(self) -> str:
        """What changes, and what to type for it."""
        return ": ".join(filter(None, (self.sentence, self.options)))

    @property
    def words(self) -> str:
        """What changes, what to type for it, and what is then needed."""
        return f"{self.action} ({format_size(self.peak)}, {self.source})"


def options_of(before: Case, now: Case) -> str:
    """What a command that says ``before`` has to say as well, or instead, to say ``now``."""
    words = [
        f"--{name} {getattr(now, name)}"
        for name in ("batch", "accumulate")
        if getattr(now, name) != getattr(before, name)
    ]
    changed = [(name, value) for name, value in now.settings.items() if before.settings.get(name) != value]
    return " ".join([*words, *(f"--set {as_setting(name, value)}" for name, value in changed)])


def as_setting(name: str, value: Any) -> str:
    """A setting as ``--set`` takes it."""
    return f"{name}={str(value).lower() if isinstance(value, bool) else value}"
