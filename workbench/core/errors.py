"""The few errors a user can meet, each with the exit code it ends a command with."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any


class PintpotError(Exception):
    """Base of every error that is ours to explain. Its text is one sentence for the user."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback."""
        return [f"pintpot: {self}"]


LONGEST = 120  #: characters of a value that a sentence repeats
MOST = 50  #: problems that are said at once


def _shown(value: object) -> str:
    """The value as Python writes it, on one line, in visible characters, and not all of a very long one."""
    try:
        text = repr(value)
    except Exception:  # whatever was given, the sentence must come
        text = f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]}... ({len(text)} characters)"


class BadInput(PintpotError):
    """Something the user gave is not usable: names the field, what is allowed and the nearest name."""

    exit_code = 2

    def __init__(self, field: str, value: object, expected: str, nearest: Iterable[str] = ()) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.nearest = tuple(nearest)
        hint = f" Nearest: {', '.join(self.nearest)}." if self.nearest else ""
        super().__init__(f"{field}: {_shown(value)} is not usable; expected {expected}.{hint}")


class UnknownName(BadInput):
    """A name that no registry, catalogue or schema knows; ``unread`` says what could not be read that may know it."""

    def __init__(self, field: str, value: object, known: Iterable[str], unread: Iterable[str] = ()) -> None:
        known = sorted(known)
        text = str(value)[:200]
        starting = [name for name in known if text and name.startswith(text)]
        close = difflib.get_close_matches(text, known, n=3, cutoff=0.4)
        nearest = list(dict.fromkeys([*starting, *close]))[:3]
        shown = known if len(known) <= 12 else [*known[:12], f"... ({len(known)} in all)"]
        super().__init__(field, value, f"one of {', '.join(shown) or 'nothing yet'}", nearest)
        self.args = (" ".join([str(self), *unread]),)


def one_of(field: str, value: str, known: Iterable[str]) -> None:
    """Refuse a name that is not among ``known``."""
    known = list(known)
    if value not in known:
        raise UnknownName(field, value, known)


class Incompatible(BadInput):
    """Two things that are each fine do not go together; says which two and why.

    ``lasting`` is false where an error of a library stands for it, which may be gone the next time.
    """

    def __init__(self, field: str, value: object, reason: str, *, lasting: bool = True) -> None:
        self.reason, self.lasting = reason, lasting
        super().__init__(field, value, "something that applies here")
        self.args = (f"{field}: {value!r} cannot be used here: {reason.rstrip('.')}.",)


class ManyBadInputs(BadInput):
    """Every problem of one request at once, so that the user mends them in one go."""

    def __init__(self, problems: list[BadInput]) -> None:
        self.problems = problems
        first = problems[0]
        super().__init__(first.field, first.value, first.expected, first.nearest)
        lines = [str(p) for p in problems[:MOST]]
        more = len(problems) - len(lines)
        self.args = ("\n".join([*lines, *([f"... and {more} more."] if more else [])]),)


def all_of(problems: list[BadInput]) -> BadInput:
    """One error that says every problem, each once."""
    problems = list({str(problem): problem for problem in problems}.values())
    return problems[0] if len(problems) == 1 else ManyBadInputs(problems)


def together(*asks: Callable[[], Any]) -> list[Any]:
    """What each of several questions answers; when some refuse, all their problems at once."""
    answers, problems = [], []
    for ask in asks:
        try:
            answers.append(ask())
        except ManyBadInputs as error:
            problems += error.problems
        except BadInput as error:
            problems.append(error)
    if problems:
        raise all_of(problems)
    return answers


class BudgetExceeded(PintpotError):
    """An allocation would have passed the memory budget. Raised before the allocation happens.

    All sizes are bytes. ``ledger`` is live bytes by category at that moment; ``suggestions`` are
    sentences naming cheaper plans, each one verified by a prediction before it is offered; ``note`` is anything
    else to say, such as that the search for them was cut short. ``sentence`` replaces what is said of the allocation
    where there was none, because a prediction refused. ``reason`` is the text without suggestions and note.
    """

    exit_code = 3

    def __init__(
        self,
        *,
        operator: str,
        module: str,
        category: str,
        asked: int,
        live: int,
        limit: int,
        ledger: dict[str, int] | None = None,
        suggestions: tuple[str, ...] = (),
        note: str = "",
        sentence: str = "",
    ) -> None:
        from workbench.core.units import format_size

        self.operator, self.module, self.category = operator, module, category
        self.asked, self.live, self.limit = asked, live, limit
        self.ledger = ledger or {}
        self.suggestions = suggestions
        where = f"{operator} in {module}" if module else operator
        text = (
            f"budget of {format_size(limit)} ({limit} bytes) would be passed: {where} asks "
            f"{format_size(asked)} for {category} while {format_size(live)} are live"
        )
        split = sorted((ledger or {}).items(), key=lambda item: -item[1])
        text += f" ({', '.join(f'{name} {format_size(size)}' for name, size in split if size)})." if ledger else "."
        self.reason = sentence or text
        self.note = note
        super().__init__(self._text())

    def _text(self) -> str:
        ways = f" Cheapest ways out: {'; '.join(self.suggestions)}." if self.suggestions else ""
        return self.reason + ways + (f" {self.note[0].upper()}{self.note[1:]}." if self.note else "")

    def noting(self, *notes: str, suggestions: tuple[str, ...] = ()) -> BudgetExceeded:
        """This error with more to say, and with suggestions where it had none."""
        self.note = "; ".join(note for note in (self.note, *notes) if note)
        self.suggestions = self.suggestions or suggestions
        self.args = (self._text(),)
        return self


class Unsafe(PintpotError):
    """What was asked for would let others in; says how, and what to do instead."""

    exit_code = 3


class ResourceMissing(PintpotError):
    """Something outside the request is missing: an asset, disk, memory, a compiler."""

    exit_code = 4


class Interrupted(PintpotError):
    """Stopped on request; what was finished is kept and the text names the command that resumes."""

    exit_code = 5
