"""The choice among candidates: sized where they look best, and believed only when a prediction confirms it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from workbench.case import Case
from workbench.core.errors import PintpotError
from workbench.core.profile import MemoryProfile
from workbench.plan.candidates import Candidate, Search
from workbench.plan.fitting import predicted_step

SLACK = 0.05  #: share of the budget by which a composed peak may pass it and still be sized, to begin with
MOST_SLACK = 0.25
GAIN = 0.02  #: a candidate that promises less than this over a sized one that fits is not sized
TRIES = 2  #: candidates of the lowest composed peak that are sized where none promises to fit


@dataclass
class Choice:
    """Chooses from a search. After ``patience`` seconds nothing more is sized once a sized candidate fits, and after
    twice as many in any case; ``gave_up`` then says that nothing had been found.

    ``checked`` counts predictions made to be sure of a candidate, ``refuted`` those that passed the budget;
    ``hurried`` says that better candidates may have been left because time was spent.
    """

    search: Search
    patience: float = math.inf
    checked: int = 0
    refuted: int = 0
    hurried: bool = False
    gave_up: bool = False
    _out: set[tuple[int, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.patience

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self._until

    def best(self) -> tuple[Candidate, MemoryProfile] | None:
        """The fastest candidate whose prediction fits; ``None`` where none does or the search was stopped."""
        search, slack, tries = self.search, SLACK, 0
        while not search.hopeless:
            index = self._promising(slack)
            if index is None:
                index = None if search.stopped or tries >= TRIES else self._most_frugal()
                if index is None:
                    return None
                tries += 1
            if not search.known()[index]:
                if time.monotonic() >= self._until + self.patience:
                    self.gave_up = True
                    return None
                guessed = search.peaks()[index]
                search.at(index[:-1])
                truth = search.peaks()[index]
                if not np.isnan(truth):
                    slack = min(MOST_SLACK, max(slack, (guessed - truth) / truth))
                continue
            found = self._confirmed(search.candidate(index))
            if found is not None:
                return found
            self._out.add(index)
        return None

    def _promising(self, slack: float) -> tuple[int, ...] | None:
        """The fastest that may fit; one that is sized where no other promises ``GAIN`` more, or time is spent."""
        known = self.search.known()
        limit = self.search.budget * np.where(known, 1.0, 1.0 + slack)
        open_ = np.where(self.search.peaks() <= limit, self.search.speeds(), np.nan)
        for index in self._out:
            open_[index] = np.nan
        sized = np.where(known, open_, np.nan)
        first, safe = _highest(open_), _highest(sized)
        if safe is None or first is None:
            return safe if self.search.stopped else first
        better = open_[first] > sized[safe] * (1 + GAIN)
        self.hurried = self.hurried or bool(better and self._late)
        return first if better and not self._late and not self.search.stopped else safe

    def _most_frugal(self) -> tuple[int, ...] | None:
        return _highest(np.where(self.search.known(), np.nan, -self.search.peaks()))

    def _confirmed(self, candidate: Candidate) -> tuple[Candidate, MemoryProfile] | None:
        try:
            profile = predicted_step(candidate.case, self.search.tier)
        except PintpotError:
            return None
        self.checked += 1
        self.refuted += profile.peak > self.search.budget
        return (candidate, profile) if profile.peak <= self.search.budget else None

    def frugal(self) -> Case | None:
        """The sized candidate that needs least."""
        index = _highest(np.where(self.search.known(), -self.search.peaks(), np.nan))
        return None if index is None else self.search.candidate(index).case

    def smaller(self, than: MemoryProfile) -> Iterator[tuple[Candidate, MemoryProfile]]:
        """What is sized, confirmed and needs less than ``than`` and than all before it, the fastest first."""
        search, peak = self.search, than.peak
        speeds = np.where(search.known(), search.speeds(), np.nan)
        for refuted in self._out:
            speeds[refuted] = np.nan
        while not (self._late or search.stopped):
            index = _highest(np.where(search.peaks() < peak * (1 - GAIN), speeds, np.nan))
            if index is None:
                return
            speeds[index] = np.nan
            found = self._confirmed(search.candidate(index))
            if found is not None and found[1].peak < peak * (1 - GAIN):
                peak = found[1].peak
                yield found


def _highest(values: np.ndarray) -> tuple[int, ...] | None:
    if np.isnan(values).all():
        return None
    return tuple(int(i) for i in np.unravel_index(np.nanargmax(values), values.shape))
