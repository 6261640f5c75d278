"""What an experiment of faults is, and how one is run: ours, its negative control, and its peers, in one process.

A module of this folder that has ``EXPERIMENT`` is found by walking. The same experiment runs at two sizes: ``short``
for every change (seconds), ``long`` for the table.
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faults

Figures = dict[str, Any]


class Absent(Exception):
    """A peer or a facility is not on this machine; the text says which and is shown in its place."""


@dataclass(frozen=True)
class Setting:
    """One arm's circumstances: ``size`` counts faults (kills, variants, seconds: the experiment says which)."""

    size: int
    seed: int
    folder: Path
    long: bool = False


Arm = Callable[[Setting], Figures]


@dataclass(frozen=True)
class Experiment:
    """``met`` and ``in_time`` decide from an arm's figures: both must hold of ``ours``, one must fail of every control.

    ``in_time`` holds the limits of seconds. A short run counts them and does not judge ours by them, as it shares its
    machine with whatever else runs there. ``short`` and ``long`` are sizes, ``seconds`` about what the short one takes.
    A target that has no weaker variant worth running names a peer as its control.
    """

    name: str
    test: str
    target: str
    unit: str
    short: int
    long: int
    ours: Arm
    met: Callable[[Figures], bool]
    controls: Mapping[str, Arm]
    peers: Mapping[str, Arm] = field(default_factory=dict)
    in_time: Callable[[Figures], bool] = lambda figures: True
    note: str = ""

    def holds(self, figures: Figures) -> bool:
        """Whether the whole target is met, its limits of seconds too."""
        return self.met(figures) and self.in_time(figures)


@dataclass(frozen=True)
class Outcome:
    """Figures of every arm. ``controls_failed`` is what makes ``met`` worth anything."""

    figures: Figures
    met: bool
    controls: Mapping[str, Figures]
    controls_failed: bool
    peers: Mapping[str, Figures]
    seconds: float


def experiments() -> dict[str, Experiment]:
    """Every experiment by name, in order."""
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(faults.__path__)):
        experiment = getattr(importlib.import_module(f"faults.{module}"), "EXPERIMENT", None)
        if experiment is not None:
            found[experiment.name] = experiment
    return dict(sorted(found.items(), key=lambda item: (item[0][0], int(item[0][1:]))))


def conduct(experiment: Experiment, *, seed: int, long: bool, peers: bool = False) -> Outcome:
    """Run ours, the controls and, if asked for, the peers, each in a folder of its own that is removed afterwards.

    Raises ``Absent`` when ours itself needs something that is not on this machine.
    """
    started = time.monotonic()
    size = experiment.long if long else experiment.short
    figures = _in_folder(experiment.ours, size, seed, long)
    controls = {name: _in_folder(arm, size, seed, long) for name, arm in experiment.controls.items()}
    return Outcome(
        figures,
        experiment.holds(figures) if long else experiment.met(figures),
        controls,
        bool(controls) and not any(experiment.holds(c) for c in controls.values()),
        peers_of(experiment, seed=seed, long=long) if peers else {},
        time.monotonic() - started,
    )


def peers_of(experiment: Experiment, *, seed: int, long: bool) -> dict[str, Figures]:
    """The figures of every peer."""
    size = experiment.long if long else experiment.short
    return {name: _peer(arm, size, seed, long) for name, arm in experiment.peers.items()}


def _in_folder(arm: Arm, size: int, seed: int, long: bool) -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="pintpot-faults-"))
    try:
        return arm(Setting(size, seed, folder, long))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _peer(arm: Arm, size: int, seed: int, long: bool) -> Figures:
    """A peer's figures; that it is absent, or that it broke, is a figure too and never ends our run."""
    try:
        return _in_folder(arm, size, seed, long)
    except Absent as error:
        return {"absent": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"broke": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
