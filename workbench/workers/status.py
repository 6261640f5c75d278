"""How far the grids are that workers share, read from the queue. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Sweep(NamedTuple):
    """One grid. ``put_back`` counts workers that were given up; ``now`` names cells under way."""

    name: str
    begun: str
    cells: int
    over: int
    under_way: int
    waiting: int
    put_back: int
    now: str


def sweeps(url: str) -> list[Sweep]:
    """Every grid in the queue at ``url``, the newest last; empty when there is none."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return []
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for name in optuna.get_all_study_names(url):
        trials = optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
        states = {s: [t for t in trials if t.state.name == s] for s in ("RUNNING", "WAITING", "FAIL")}
        keys = {t.user_attrs.get("key") for t in trials} - {None}
        over = {t.user_attrs["key"] for t in trials if "over" in t.user_attrs}
        now = ", ".join(t.user_attrs.get("label", "") for t in states["RUNNING"])
        begun = min((t.datetime_start for t in trials if t.datetime_start), default=None)
        when = begun.isoformat(timespec="seconds") if begun else ""
        counts = (len(states["RUNNING"]), len(states["WAITING"]), len(states["FAIL"]))
        found.append(Sweep(name, when, len(keys), len(over), *counts, now))
    return sorted(found, key=lambda sweep: sweep.begun)
