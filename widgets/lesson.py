"""What a tutorial asks of its reader: a guess before the answer, an exercise that checks itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from widgets import guesses
from widgets.base import STATIC, Panel
from widgets.display import headless, show
from workbench import figures
from workbench.core.errors import UnknownName
from workbench.figures.guess import GuessInfo
from workbench.report import emit


class Guess(Panel):
    """A question with options. The reader's choice is kept; :meth:`reveal` shows the answer in a box of its own.

    A guess made before (see :mod:`widgets.guesses`) stands from the start. Raises ``BadInput`` for fewer than two
    options.
    """

    kind = "guess"
    _esm = STATIC / "guess.js"

    def __init__(self, question: str, options: Sequence[str]) -> None:
        self.question, self.options = question, tuple(options)
        self.choice: int | None = None if headless() else guesses.recalled(question, self.options)
        self._answer: str | None = None
        self._because = ""
        self._below: Panel | None = None
        super().__init__(self._figure())
        self.on_msg(self._asked)

    @property
    def right(self) -> bool | None:
        """Whether the guess was right; None before there is a guess and an answer."""
        if self.choice is None or self._answer is None:
            return None
        return self.options[self.choice] == self._answer

    def choose(self, option: str) -> None:
        """Guess without the mouse. Raises ``UnknownName``."""
        if option not in self.options:
            raise UnknownName("option", option, self.options)
        self._choose(self.options.index(option))

    def reveal(self, answer: str, because: str = "") -> None:
        """Show the answer, computed by the cell before, and say why. Raises ``UnknownName`` for none of the options."""
        figures.guess(self.question, self.options, answer=answer)
        self._answer, self._because = answer, because
        if self.choice is not None and not headless():
            guesses.keep(self.question, self.options[self.choice], answer)
        self.update(self._figure())
        self._below = AnswerPanel(self._figure("answer", live=not headless()))
        show(self._below)

    def finished(self) -> GuessInfo:
        """The question for a page without a kernel; its reader can still guess."""
        return self._figure(live=False)

    def _figure(self, part: Literal["question", "answer"] = "question", live: bool = True) -> GuessInfo:
        return figures.guess(
            self.question, self.options, choice=self.choice, answer=self._answer, because=self._because, live=live,
            part=part,
        )  # fmt: skip

    def _choose(self, index: int) -> None:
        # After the answer was seen beside a guess, another guess is none any more.
        if self._answer is None or self.choice is None:
            self.choice = index
            guesses.keep(self.question, self.options[index], self._answer)
            self.update(self._figure())
            if self._below is not None:
                self._below.update(self._figure("answer"))

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        choice = content.get("choice")
        if content.get("do") == "guess" and isinstance(choice, int) and 0 <= choice < len(self.options):
            self._choose(choice)


class AnswerPanel(Panel):
    """The answer to a question that stands above it."""

    kind = "guess"
    _esm = STATIC / "guess.js"


def guess(question: str, options: Sequence[str]) -> Guess:
    """Ask before the answer is computed: shows the question and returns it, to be revealed by a later cell."""
    asked = Guess(question, options)
    show(asked)
    return asked


def check(done: bool, right: str, hint: str) -> bool:
    """Whether an exercise is solved, said in a sentence: ``right`` when it is, else ``hint``.

    A report has no reader who could solve it and shows the hint as the task that it is.
    """
    text = f"✓ {right}" if done else f"{'To do' if headless() else 'Not yet'}: {hint}"
    emit.note(text)
    return done
