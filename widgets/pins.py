"""Runs that a reader keeps in sight: pinned in one panel, drawn beside the run of every other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakMethod

from widgets.panels import ComparePanel
from workbench import figures

if TYPE_CHECKING:
    from workbench.records.schema import RunRecord

MOST = 4  #: more curves than that are not told apart; the oldest gives way


class Pins:
    """Records in the order they were pinned. Whoever watches is called after each change, in the caller's thread."""

    def __init__(self) -> None:
        self._records: dict[str, RunRecord] = {}
        self._watching: list[WeakMethod[Callable[[], None]]] = []
        self._changing = threading.RLock()

    def __contains__(self, record: object) -> bool:
        return getattr(record, "id", None) in self._records

    def records(self) -> list[RunRecord]:
        return list(self._records.values())

    def pin(self, record: RunRecord) -> None:
        """Keep a run in sight; of more than ``MOST`` the oldest is let go."""
        with self._changing:
            self._records[record.id] = record
            while len(self._records) > MOST:
                del self._records[next(iter(self._records))]
        self._tell()

    def unpin(self, run: str) -> None:
        """Let the run with this id go; nothing where it is not pinned."""
        with self._changing:
            self._records.pop(run, None)
        self._tell()

    def watch(self, told: Callable[[], None]) -> None:
        """Call a bound method after each change, for as long as its object lives."""
        self._watching.append(WeakMethod(told))

    def _tell(self) -> None:
        for reference in list(self._watching):
            told = reference()
            if told is None:
                self._watching.remove(reference)
            else:
                told()


#: The pins of this kernel: every run panel of a notebook shows the same.
PINS = Pins()


def pinned() -> list[RunRecord]:
    """The runs that are pinned, for instance for :func:`workbench.figures.compare`."""
    return PINS.records()


class PinnedRuns(ComparePanel):
    """The pinned runs side by side, with their differences only on demand; follows what is pinned."""

    def __init__(self) -> None:
        super().__init__(figures.compare(PINS.records()))
        PINS.watch(self._told)

    def _told(self) -> None:
        self.update(figures.compare(PINS.records()))
