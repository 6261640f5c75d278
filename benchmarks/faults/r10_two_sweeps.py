"""R10: two sweeps, a writer and a reader share one store for minutes; nobody is turned away or waits long."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles

from faults.children import child
from faults.examples import RECORD
from faults.frame import Experiment, Figures, Setting
from faults.sweeping import Crew


def _write(says: Connection, folder: Path, seconds: float, careless: bool) -> None:
    """A record about every 20 ms; says how long each took to be on disk, or that it was turned away."""
    from workbench.core.errors import PintpotError
    from workbench.records import database
    from workbench.records.store import RunStore

    if careless:
        database.WAIT = 0
        database.durable = lambda connection, _: connection.execute("PRAGMA journal_mode=DELETE")
    store, until, number = RunStore(folder), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        started = time.perf_counter()
        try:
            store.put(f"{os.getpid()}-{number}", replace(RECORD, id=f"{os.getpid()}-{number}"))
        except (PintpotError, Exception) as error:
            says.send(f"turned away: {error}")
        says.send(time.perf_counter() - started)
        time.sleep(0.02)


def _read(says: Connection, folder: Path, seconds: float) -> None:
    """The listing, as a dashboard would ask for it every half second."""
    from workbench.records.store import RunStore

    store, until = RunStore(folder), time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        try:
            store.lines(40)
            says.send(time.perf_counter() - started)
        except Exception as error:
            says.send(f"turned away: {error}")
        time.sleep(0.5)


def ours(setting: Setting) -> Figures:
    with tempfile.TemporaryFile() as complaints:
        enough = 50 + 2 * setting.size
        crews = [Crew(setting.folder, 10_000 * i, enough, workers=1, steps=20, stderr=complaints) for i in range(2)]
        acknowledged: list[str] = []
        while len({i for i, crew in enumerate(crews) if crew.workers}) < 2:
            time.sleep(0.1)
            acknowledged += [run for crew in crews for run in crew.hear()]
        writer = child(_write, setting.folder, setting.size, False)
        reader = child(_read, setting.folder, setting.size)
        until = time.monotonic() + setting.size
        while time.monotonic() < until:
            time.sleep(0.5)
            acknowledged += [run for crew in crews for run in crew.hear()]
        written, listed = writer.rest(), reader.rest()
        for crew in crews:
            crew.kill()
        complaints.seek(0)
        shown = complaints.read().decode().count("locked")
    return {**_counted(written, listed, shown), "runs of the sweeps": len(acknowledged)}


def _counted(written: list[object], listed: list[object], shown: int) -> Figures:
    times = [t for t in written if isinstance(t, float)]
    cuts = quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    reads = [t for t in listed if isinstance(t, float)]
    turned = [w for w in (*written, *listed) if isinstance(w, str)]
    return {
        "writes": len(times), "median write ms": 1000 * cuts[49], "p99 write ms": 1000 * cuts[98],
        "longest write ms": 1000 * max(times, default=0.0), "listings": len(reads),
        "longest listing ms": 1000 * max(reads, default=0.0), "turned away": len(turned) + shown,
    }  # fmt: skip


def impatient(setting: Setting) -> Figures:
    """Three writers that do not wait, on SQLite's default journal."""
    seconds = min(setting.size, 8)
    writers = [child(_write, setting.folder, seconds, True) for _ in range(3)]
    return _counted([w for one in writers for w in one.rest()], [], 0)


def _optuna(says: Connection, url: str, seconds: float, reads: bool) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, until = optuna.load_study(study_name="peer", storage=url), time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        try:
            if reads:
                study.get_trials(deepcopy=False)
            else:
                study.add_trial(optuna.create_trial(value=0.5))
            says.send(time.perf_counter() - started)
        except Exception as error:
            says.send(f"turned away: {error}")
        time.sleep(0.5 if reads else 0.02)


def optuna_sqlite(setting: Setting) -> Figures:
    """Three writers and a reader of one study, as it comes."""
    import optuna

    url, seconds = f"sqlite:///{setting.folder}/peer.sqlite", min(setting.size, 60)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="peer", storage=url)
    writers = [child(_optuna, url, seconds, False) for _ in range(3)]
    reader = child(_optuna, url, seconds, True)
    return _counted([w for one in writers for w in one.rest()], reader.rest(), 0)


EXPERIMENT = Experiment(
    name="R10",
    test="two sweeps, a writer every 20 ms and a reader every half second share a store",
    target="nobody is told that it is locked, the 99th percentile of writes is at most 100 ms",
    unit="seconds",
    short=8,
    long=600,
    ours=ours,
    met=lambda f: f["turned away"] == 0 and f["writes"] > 0,
    in_time=lambda f: f["writes"] < 2000 or f["p99 write ms"] <= 100,
    controls={"writers that do not wait, default journal": impatient},
    peers={"Optuna, SQLite, three writers for a minute": optuna_sqlite},
    note="the machine was shared, so a percentile over fewer than 2,000 writes is not judged. A write is two commits.",
)  # fmt: skip
