"""What a method says about itself: the one source for listings, forms, notebooks and reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """Identity of a method.

    ``saves`` is one sentence on which memory category it lowers and which it does not.
    ``equation`` is plain text or LaTeX of the defining step.
    """

    title: str
    family: str
    paper: str
    summary: str
    saves: str
    when: str = ""
    equation: str = ""

    def missing(self) -> list[str]:
        """Names of required fields that are empty; a contract test asks for none."""
        return [n for n in ("title", "family", "paper", "summary", "saves") if not getattr(self, n).strip()]
