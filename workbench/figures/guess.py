"""A question that is asked before the answer is shown, and what was guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from workbench.core.errors import BadInput, UnknownName
from workbench.figures.info import FigureInfo


@dataclass(frozen=True)
class GuessInfo(FigureInfo):
    """``choice`` and ``answer`` index ``options``; None while nothing is chosen, or nothing is revealed.

    ``part`` is *question* for the box that asks, *answer* for the one below it that answers, or *whole* for both.
    """

    kind: ClassVar[str] = "guess"
    module: ClassVar[str] = "guess"

    question: str
    options: tuple[str, ...]
    choice: int | None
    answer: int | None
    because: str
    live: bool  #: whether a kernel takes the guess down
    part: str = "whole"

    def rows(self) -> list[dict[str, Any]]:
        """No data: a question is none."""
        return []


def guess(
    question: str,
    options: Sequence[str],
    *,
    choice: int | None = None,
    answer: str | None = None,
    because: str = "",
    live: bool = False,
    part: Literal["whole", "question", "answer"] = "whole",
) -> GuessInfo:
    """A question with at least two options; ``answer`` is one of them and reveals it.

    Raises ``BadInput`` for too few or equal options and ``UnknownName`` for an answer that is none of them.
    """
    options = tuple(options)
    if len(set(options)) < max(2, len(options)):
        raise BadInput("options", ", ".join(options), "at least two, all different")
    if answer is not None and answer not in options:
        raise UnknownName("answer", answer, options)
    return GuessInfo(
        title="Your guess" if answer is None or part == "question" else "The answer",
        caption="",
        alt=_alt(question, options, choice, answer),
        runs=(),
        question=question,
        options=options,
        choice=choice,
        answer=None if answer is None else options.index(answer),
        because=because,
        live=live,
        part=part,
    )


def _alt(question: str, options: Sequence[str], choice: int | None, answer: str | None) -> str:
    guessed = "Nothing was guessed." if choice is None else f"The guess was {options[choice]}."
    if answer is None:
        return f"{question} One of: {'; '.join(options)}. {guessed}"
    return f"{question} The answer is {answer}. {guessed}"
