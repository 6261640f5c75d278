"""A second process that works on the same cases from the far end, so that a cold sweep uses two cores."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from workbench.case import Case
from workbench.core.collection import seldom
from workbench.core.errors import PintpotError
from workbench.core.profile import Tier
from workbench.memory.host import threads_in_force

WORTHWHILE = 10  #: sizes not yet known below which starting a process costs more than it saves
SEARCHES = 2  #: the same for searches for ways out, each of which takes seconds
_FIELDS = ("task_name", "model_name", "method_name", "batch", "length", "accumulate", "settings")


class SecondProcess:
    """Another process that fills the cache with what it is asked for, beginning with the last case.

    Whoever works through the cases in order meets it about half-way and finds the rest answered. Nothing depends
    on it: where it dies or cannot start, the cases are predicted here. It starts when there is enough to do and the
    machine has a second core. A program of its own is started, not a fork of this one, so a script needs no guard
    around its main part.
    """

    def __init__(self, tier: Tier | None = None) -> None:
        self._tier = tier
        self._child: subprocess.Popen[bytes] | None = None

    def sizes(self, cases: Sequence[Case]) -> None:
        """Have the sizes of those cases found that are not known yet."""
        from workbench.plan.fitting import sizes_known

        self._ask([case for case in cases if not sizes_known(case, self._tier)], WORTHWHILE)

    def ways_out(self, cases: Sequence[Case], budget: int, seconds: float) -> None:
        """Have ways out of a budget in bytes found, for at most ``seconds`` in all."""
        self._ask(cases, SEARCHES, budget, seconds)

    def _ask(self, cases: Sequence[Case], worthwhile: int, *search: float) -> None:
        if len(cases) < (1 if self._child else worthwhile) or _cores() < 2:
            return
        from workbench.memory import ledger

        rows = [json.dumps({name: getattr(case, name) for name in _FIELDS}) for case in reversed(cases)]
        with contextlib.suppress(OSError):  # it cannot start, or has died already
            if self._child is None:
                ledger.compile_ahead()  # both processes would come to wait for it while a core is idle
                self._child = self._started()
            assert self._child.stdin is not None
            self._child.stdin.write("\n".join([json.dumps(search), *rows, ""]).encode())
            self._child.stdin.flush()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", "workbench.plan.ahead", str(self._tier or "")]
        quiet, own = subprocess.DEVNULL, os.environ | threads_in_force()  # else its answers are kept for others
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=own)

    def end(self) -> None:
        """Stop it, whatever it is at."""
        if self._child is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()  # type: ignore[union-attr]
            self._child.terminate()
            self._child.wait()
            self._child = None


def _cores() -> int:
    """Cores that this process may use, where the system says so; else those of the machine."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


@contextmanager
def second_process(tier: Tier | None = None) -> Iterator[SecondProcess]:
    """A second process for as long as the context lasts."""
    second = SecondProcess(tier)
    try:
        yield second
    finally:
        second.end()


def main() -> None:
    """Do what standard input asks for: a list, then cases one a line, all as JSON.

    An empty list asks for sizes of the cases that follow, a budget and seconds for ways out of it.
    """
    from workbench.plan.fitting import sizes_of
    from workbench.plan.ways import Patience, ways_out

    tier = Tier(sys.argv[1]) if sys.argv[1] else None
    seldom()
    search: list[Any] = []
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, list):
            search = asked and [int(asked[0]), Patience(asked[1])]
            continue
        with contextlib.suppress(PintpotError):  # kept as a refusal; the asking process will show it
            if search:
                list(ways_out(Case(**asked), search[0], tier, patience=search[1]))
            else:
                sizes_of(Case(**asked), tier)


if __name__ == "__main__":
    main()
