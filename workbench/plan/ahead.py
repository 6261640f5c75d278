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
from workbench.core.errors import PintpotError
from workbench.core.profile import Tier

WORTHWHILE = 10  #: sizes not yet known below which starting a process costs more than it saves
SEARCHES = 2  #: the same for searches for ways out, each of which takes seconds


def _fields(case: Case) -> dict[str, Any]:
    names = ("task_name", "model_name", "method_name", "batch", "length", "accumulate", "settings")
    return {name: getattr(case, name) for name in names}


@contextmanager
def second_process(
    cases: Sequence[Case], tier: Tier | None = None, budget: int | None = None, seconds: float = 0.0
) -> Iterator[None]:
    """While the context lasts, another process fills the cache, beginning with the last case.

    It finds their sizes, or with a ``budget`` in bytes, for at most ``seconds``, ways out of it. Whoever works
    through ``cases`` in order meets it about half-way and finds the rest answered. Nothing depends on it: where it
    dies or cannot start, the cases are predicted here. A program of its own is started, not a fork of this one, so
    a script needs no guard around its main part.
    """
    from workbench.plan.fitting import sizes_known

    wanted = list(cases) if budget else [case for case in cases if not sizes_known(case, tier)]
    if len(wanted) < (SEARCHES if budget else WORTHWHILE) or len(os.sched_getaffinity(0)) < 2:
        yield
        return
    command = [sys.executable, "-W", "ignore", "-m", "workbench.plan.ahead", str(tier or "")]
    command += [str(budget), str(seconds)] if budget else []
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        yield
        return
    try:
        _tell(child, wanted)
        yield
    finally:
        child.terminate()
        child.wait()


def _tell(child: subprocess.Popen[bytes], wanted: Sequence[Case]) -> None:
    """Hand over the cases, last one first; a child that has died already is no loss."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write("\n".join(json.dumps(_fields(c)) for c in reversed(wanted)).encode())
        child.stdin.close()


def main() -> None:
    """Find sizes of, or ways out for, the cases given one a line on standard input, as JSON."""
    from workbench.plan.fitting import sizes_of
    from workbench.plan.ways import Patience, ways_out

    tier = Tier(sys.argv[1]) if sys.argv[1] else None
    budget, patience = (int(sys.argv[2]), Patience(float(sys.argv[3]))) if len(sys.argv) > 2 else (None, None)
    for line in sys.stdin.read().splitlines():
        case = Case(**json.loads(line))
        with contextlib.suppress(PintpotError):  # kept as a refusal; the asking process will show it
            if budget is None:
                sizes_of(case, tier)
            else:
                list(ways_out(case, budget, tier, patience=patience))


if __name__ == "__main__":
    main()
