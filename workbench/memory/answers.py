"""Truth values that a step asks of numbers nobody knows, answered by trial.

A step that checks its own numbers (is a logit infinite?) mostly stops with an error when it dislikes them, so
a step that finishes got the other answer. A question is therefore answered with "no" at first. The answer
stands when the contrary one stops the step before another operator runs, or leads to the same bytes.

A number that is read is taken as ``NUMBER``. Unless one of our own parts read it, the step is tried with
``OTHER_NUMBERS`` too, and must come to the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import CodeType

from workbench.memory.shapes import refused

#: Whose frames lie between what asks and us: ours, torch's, and the mark on functions that its compiler leaves alone.
_BETWEEN = ("workbench.memory.", "workbench.core.asleep", "torch.")
Site = tuple[tuple[CodeType, int], ...]
MOST = 12  #: places that ask; each costs a run of its own
OFTEN = 10_000  #: questions at one place, after which a loop is taken to have no end


#: What a number computed from floating-point data is taken to be, and what it is taken to be in steps that show
#: whether anything hangs on it.
NUMBER, OTHER_NUMBERS = 1.0, (1e-3, 1e3, -1e3)
#: That are drawn (nought is, once in 16 million times: a chance of nought drops nothing); what is dropped at random is
#: kept at the highest.
LOWEST, HIGHEST = 2**-24, 1 - 2**-24


class Answers:
    """Answers by the place that asks: the Python calls that led there, our own left out.

    ``number`` is what a floating-point number that is read is taken to be, ``numbers_read`` whether any was;
    ``draw`` and ``drawn`` are the same of a single number drawn at random, by which layers are dropped.
    """

    def __init__(self, given: Mapping[Site, bool] | None = None, number: float = NUMBER, draw: float = HIGHEST) -> None:
        self.given: dict[Site, bool] = dict(given or {})
        self.draw, self.drawn = draw, False
        self.chance = False  #: whether a generator of the process was drawn from, for numbers that are known
        self.number, self.numbers_read = number, False
        self.asked: dict[Site, int] = {}
        self.settled: set[Site] = set()  #: the contrary answer was seen to stop the step
        self.last: Site | None = None  #: asked, and no operator has run since

    def answer(self) -> bool:
        site = _site()
        self.asked[site] = self.asked.get(site, 0) + 1
        if len(self.asked) > MOST or self.asked[site] > OFTEN:
            raise refused("truth values computed from floating-point data, asked for again and again")
        self.last = site
        return self.given.setdefault(site, False)

    def turned(self) -> Answers | None:
        """For a step that has just stopped at an answer: the other one, or ``None`` if that stops it as well."""
        if self.last is None or self.last in self.settled:
            return None
        other = self.contrary(self.last)
        other.settled = {*self.settled, self.last}
        return other

    def read(self) -> float:
        """The number; a reader is noted unless its bytes are tested: a part of this package, the 8-bit update rule."""
        self.numbers_read = self.numbers_read or not _asker().startswith(("workbench.", "bitsandbytes."))
        return self.number

    def draws(self) -> float:
        """A number drawn at random between 0 and 1."""
        self.drawn = self.drawn or not _asker().startswith("workbench.")
        return self.draw

    def with_draw(self, draw: float) -> Answers:
        """The same answers, but for numbers that are drawn."""
        return Answers(self.given, self.number, draw)

    def with_number(self, number: float) -> Answers:
        """The same answers, but for numbers that are read."""
        return Answers(self.given, number)

    def contrary(self, site: Site) -> Answers:
        """The same answers but at one place."""
        return Answers({**self.given, site: not self.given[site]})


def compared() -> bool:
    """Whether it is ``torch.testing`` that asks: a difference would stop the step, or be warned of."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != "torch.testing._comparison":
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def _asker() -> str:
    """Name of the module that asks."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_BETWEEN):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def _site() -> Site:
    found = []
    frame = sys._getframe(2)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith("workbench.memory."):
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)
