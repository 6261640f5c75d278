"""Progress of anything longer than two seconds: bars on a terminal or in a notebook, silence in a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.ablate import Progress


def _silent() -> bool:
    """A pipe, or a report that nobody watches being made, would only keep the control characters of a bar."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return bool(os.environ.get("PINTPOT_HEADLESS")) or not watched


@contextmanager
def downloads(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A callback ``(label, done, total)`` that draws one bar per label."""
    from tqdm.auto import tqdm

    bars: dict[str, Any] = {}

    def observe(label: str, done: int, total: int) -> None:
        if label not in bars:
            bars[label] = tqdm(
                total=total or None, desc=f"{title}: {label}", delay=2, leave=False, file=sys.stderr, disable=_silent()
            )
        bars[label].update(done - bars[label].n)

    try:
        yield observe
    finally:
        for bar in bars.values():
            bar.close()


@contextmanager
def names(title: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """A callback ``(name)`` called as each of ``total`` things begins; ``None`` where their number is not known."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, delay=2, leave=False, file=sys.stderr, disable=_silent()) as bar:
        yield lambda name: (bar.set_postfix_str(name, refresh=False), bar.update(1))[0]


@contextmanager
def sweeping(total: int) -> Iterator[Callable[[Progress], None]]:
    """An observer for :func:`workbench.ablate.sweep`: the runs, and the steps of the present one."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="runs", delay=2, leave=True, file=sys.stderr, unit="run", disable=_silent()) as bar:

        def observe(progress: Progress) -> None:
            case = progress.cell.case
            if progress.step is not None:
                text = f"{case.method_name} seed {progress.cell.seed} step {progress.step.step + 1}"
                bar.set_postfix_str(f"{text} loss {progress.step.loss:.3f}", refresh=progress.step.step % 10 == 0)
            else:
                bar.update(progress.done - bar.n)

        yield observe
