"""R1: workers of a sweep killed at random moments, now and then the whole sweep; nothing lost, doubled or left over."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import optuna

from faults import mlflow_peer
from faults.children import Child, child
from faults.frame import Experiment, Figures, Setting
from faults.sweeping import LEASE, Crew, cells
from workbench.records.store import RunStore

CHUNK = 60  #: cells of one grid; when they are done the next grid begins in the same store
EVERYTHING = 100  #: every so many kills, all processes of the sweep at once
BAD = ("lost", "doubled", "left running", "damaged", "cells unfinished", "tracebacks")
PATIENCE = 150.0  #: seconds that the last grid may take after the last kill


def _kill(setting: Setting, *, weak: str = "", url: str = "") -> Figures:
    chance, kills, whole, first = random.Random(setting.seed), 0, 0, 0
    acknowledged: list[str] = []
    complaints = (setting.folder / "complaints").open("wb")
    begin = partial(Crew, setting.folder, count=CHUNK, url=url, weak=weak, stderr=complaints)
    crew = begin(first=first)
    while kills < setting.size:
        time.sleep(chance.uniform(0.2, 0.8))
        acknowledged += crew.hear()
        if crew.ended:
            first += CHUNK
            crew = begin(first=first)
        elif (kills + 1) % (EVERYTHING if setting.long else 6) == 0:
            kills, whole = kills + 1, whole + 1
            crew.kill()
            acknowledged += crew.hear()
            crew = begin(first=first)
        elif crew.workers:
            kills += crew.kill_worker(chance.choice(crew.workers))
    crew.kill()
    acknowledged += crew.hear()
    crew, started = begin(first=first), time.monotonic()
    patience = 15.0 if weak else PATIENCE
    while not crew.ended and time.monotonic() - started < patience:
        time.sleep(0.2)
        acknowledged += crew.hear()
    crew.kill()
    acknowledged += crew.hear()
    tracebacks = (setting.folder / "complaints").read_text(errors="replace").count("Traceback")
    found = _found(setting.folder, first, acknowledged, url)
    return {"kills": kills, "of all processes": whole, **found, "tracebacks": tracebacks}


def _found(folder: Path, first: int, acknowledged: list[str], url: str) -> Figures:
    store = RunStore(folder, url or None)
    lines = store.lines()
    stored = {line.id for line in lines}
    twice = sum(count - 1 for count in Counter((line.method, line.seed) for line in lines).values())
    wanted = {cell.key() for cell in cells(0, first + CHUNK)}
    return {
        "acknowledged": len(set(acknowledged)),
        "lost": len(set(acknowledged) - stored),
        "doubled": twice,
        "cells unfinished": len(wanted - store.finished_keys()),
        "left running": _running(store.queue),
        "damaged": len(store.damaged()),
        "listed": len(lines),
    }


def _running(url: str) -> int:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies = [optuna.load_study(study_name=n, storage=url) for n in optuna.get_all_study_names(url)]
    return sum(len(s.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))) for s in studies)


def ours(setting: Setting) -> Figures:
    return _kill(setting)


def optuna_alone(setting: Setting) -> Figures:
    """Our sweep on Optuna's storage without heartbeat, and without the look for cells that nobody has."""
    found: Figures = {}
    for attempt in range(3):  # a dozen kills may all miss the moment in which a worker holds a cell
        folder = setting.folder / f"attempt-{attempt}"
        folder.mkdir(parents=True)
        found = _kill(Setting(min(setting.size, 12), setting.seed + attempt, folder), weak="alone")
        if found["left running"] or found["cells unfinished"]:
            break
    return found


def _objective(trial: optuna.Trial) -> float:
    time.sleep(0.05)
    return trial.suggest_float("x", 0, 1)


def _optuna_worker(says: Connection, kind: str, place: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="peer", storage=_peer_storage(kind, place))
    study.optimize(_objective, n_trials=10_000, callbacks=[lambda _, trial: says.send(trial.number)])


def _peer_storage(kind: str, place: str) -> str | optuna.storages.JournalStorage:
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if kind == "sqlite":
        return f"sqlite:///{place}/peer.sqlite"
    file = f"{place}/peer.journal"
    return optuna.storages.JournalStorage(JournalFileBackend(file, JournalFileOpenLock(file)))


def _optuna(setting: Setting, kind: str) -> Figures:
    """Two workers of Optuna by itself, each living 2 to 4 s; a round without any acknowledged trial is idle."""
    chance, kills, idle = random.Random(setting.seed), 0, 0
    place = str(setting.folder)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="peer", storage=_peer_storage(kind, place))
    acknowledged: set[int] = set()
    for _ in range(25):
        pair: list[Child] = [child(_optuna_worker, kind, place) for _ in range(2)]
        time.sleep(chance.uniform(2, 4))
        heard = {n for one in pair for n in one.kill() if isinstance(n, int)}
        kills, idle = kills + len(pair), idle + (not heard)
        acknowledged |= heard
    found: Figures = {"kills": kills, "acknowledged": len(acknowledged), "idle rounds of 25": idle}
    trials = optuna.load_study(study_name="peer", storage=_peer_storage(kind, place)).get_trials(deepcopy=False)
    done = {t.number for t in trials if t.state is optuna.trial.TrialState.COMPLETE}
    running = sum(t.state is optuna.trial.TrialState.RUNNING for t in trials)
    return {**found, "lost": len(acknowledged - done), "left running": running}


EXPERIMENT = Experiment(
    name="R1",
    test="workers of a two-worker sweep are killed, every 100th time all its processes at once",
    target="none acknowledged is lost, none counted twice, none left running after one lease, the listing works, no "
    "worker ends in a trace, at least one trial done per two kills",
    unit="kills",
    short=12,
    long=500,
    ours=ours,
    met=lambda f: not any(f[bad] for bad in BAD)
    and 2 * f["listed"] >= f["kills"] and f["acknowledged"] > 0,
    controls={"on Optuna without heartbeat": optuna_alone},
    peers={
        "Optuna, SQLite": lambda setting: _optuna(setting, "sqlite"),
        "Optuna, journal": lambda setting: _optuna(setting, "journal"),
        "MLflow, files": lambda setting: mlflow_peer.killed(setting, "file"),
        "MLflow, SQLite": lambda setting: mlflow_peer.killed(setting, "sqlite"),
    },
    note=f"each cell is a real training of a tiny model; a lease is {LEASE.length:g} s here.",
)  # fmt: skip
