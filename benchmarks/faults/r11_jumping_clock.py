"""R11: the wall clock jumps by a day, back and forth, while a sweep runs; the steady clock goes on."""

from __future__ import annotations

import random
import time
from pathlib import Path

import optuna

from faults.frame import Absent, Experiment, Figures, Setting
from faults.sweeping import LEASE, Crew
from workbench.records.store import RunStore

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CELLS, STEPS = 400, 60


def _jump(setting: Setting, weak: str) -> Figures:
    """Jump every second or so; after every fourth jump kill a worker, whose cell must then come back."""
    if not Path(LIBRARY).exists():
        raise Absent("a clock that jumps needs libfaketime (apt-get install faketime)")
    chance, clock = random.Random(setting.seed), setting.folder / "clock"
    clock.write_text("+0")
    env = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}  # fmt: skip
    crew = Crew(setting.folder, 0, CELLS, weak=weak, steps=STEPS, env=env)
    acknowledged = _wait_for(crew, 4)
    kills = 0
    for number in range(setting.size):
        clock.write_text(chance.choice(["+1d", "-1d"]) if number % 2 == 0 else "+0")
        time.sleep(chance.uniform(1.5, 2.5))
        acknowledged += crew.hear()
        if number % 4 == 3 and crew.workers:
            kills += crew.kill_worker(crew.workers[-1])
    clock.write_text("-1d")  # a dead one must be missed in the past too
    time.sleep(2)
    acknowledged += crew.hear()
    kills += crew.kill_worker(crew.workers[-1])
    until = time.monotonic() + 4 * LEASE.length
    while time.monotonic() < until:
        time.sleep(0.2)
        acknowledged += crew.hear()
    alive = crew.workers[-2:]
    crew.kill()
    return {"jumps": setting.size + 1, "kills": kills, **_found(setting.folder, acknowledged, kills, len(alive))}


def _wait_for(crew: Crew, count: int) -> list[str]:
    heard: list[str] = []
    until = time.monotonic() + 90
    while len(heard) < count and time.monotonic() < until:
        time.sleep(0.1)
        heard += crew.hear()
    return heard


def _found(folder: Path, acknowledged: list[str], kills: int, alive: int) -> Figures:
    """Stolen: trials given away beyond those whose worker was killed. Stuck: under way though nobody runs them."""
    store = RunStore(folder)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (name,) = optuna.get_all_study_names(store.queue)
    trials = optuna.load_study(study_name=name, storage=store.queue).get_trials(deepcopy=False)
    failed = sum(t.state is optuna.trial.TrialState.FAIL for t in trials)
    running = sum(t.state is optuna.trial.TrialState.RUNNING for t in trials)
    records = list(store.records())
    durations = [s for r in records for s in (r.seconds, *(step.seconds for step in r.steps))]
    return {
        "runs done": len(records),
        "stolen": max(0, failed - kills),
        "stuck": max(0, running - alive),
        "lost": len(set(acknowledged) - {r.id for r in records}),
        "negative durations": sum(seconds < 0 for seconds in durations),
        "longest run s": max((r.seconds for r in records), default=0.0),
    }


EXPERIMENT = Experiment(
    name="R11",
    test="the wall clock of a two-worker sweep jumps by a day, back and forth; workers are killed meanwhile",
    target="no cell stolen from a living worker, none stuck with a dead one, no negative or day-long duration",
    unit="jumps",
    short=6,
    long=20,
    ours=lambda setting: _jump(setting, ""),
    met=lambda f: f["stolen"] == f["stuck"] == f["lost"] == f["negative durations"] == 0
    and f["longest run s"] < 3600 and f["runs done"] > 0,
    controls={"Optuna's own heartbeat": lambda setting: _jump(setting, "clock")},
    note="libfaketime moves the clock of every process of the sweep and of SQLite; Optuna's heartbeat is the peer.",
)  # fmt: skip
