"""R2: how long the next writer waits after one was killed in the middle of writing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from faults.frame import Experiment, Figures, Setting

HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin immediate")
connection.execute("insert into kept values ('never committed')")
print("holding", flush=True)
time.sleep(60)
"""

LOCK_FILE = """
import os, sys, time
os.close(os.open(sys.argv[1] + ".lock", os.O_CREAT | os.O_EXCL))
print("holding", flush=True)
time.sleep(60)
"""

OPTUNA = """
import sys, time
from optuna.storages.journal import JournalFileOpenLock
JournalFileOpenLock(sys.argv[1]).acquire()
print("holding", flush=True)
time.sleep(60)
"""

GRACE = 2.0  #: seconds after which the lock file of the control is taken from whoever left it


def _killed(code: str, file: Path, pause: float) -> None:
    """Start a process that takes the lock, kill it while it holds it."""
    child = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "holding\n"
    time.sleep(pause)
    child.send_signal(signal.SIGKILL)
    child.communicate()


def _waits(setting: Setting, code: str, prepare: Callable[[Path], None], write: Callable[[Path], None]) -> Figures:
    chance, waits = random.Random(setting.seed), []
    for number in range(setting.size):
        file = setting.folder / f"store-{number}"
        prepare(file)
        _killed(code, file, chance.uniform(0, 0.05))
        started = time.monotonic()
        write(file)
        waits.append(time.monotonic() - started)
    return {"written": len(waits), "median wait s": median(waits), "longest wait s": max(waits)}


def ours(setting: Setting) -> Figures:
    """The lock is the operating system's; it ends with its holder."""
    from dataclasses import replace

    from faults.examples import RECORD
    from workbench.records.store import RunStore

    def prepare(file: Path) -> None:
        import sqlite3

        store = RunStore(file)
        store.put("first", RECORD)
        with sqlite3.connect(store.file) as connection:
            connection.execute("create table kept (text)")

    def write(file: Path) -> None:
        RunStore(file).put("second", replace(RECORD, id="second"))

    holder = HOLDER.replace("sys.argv[1]", "sys.argv[1] + '/runs.sqlite'")
    return _waits(setting, holder, prepare, write)


def lock_file(setting: Setting) -> Figures:
    """A file that marks the lock, taken over after a grace time: the usual habit."""

    def write(file: Path) -> None:
        lock, started = Path(f"{file}.lock"), time.monotonic()
        while lock.exists():
            if time.monotonic() - started > GRACE:
                lock.unlink()
            time.sleep(0.01)
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))

    few = Setting(min(setting.size, 2), setting.seed, setting.folder)
    return _waits(few, LOCK_FILE, lambda file: None, write)


def optuna_journal(setting: Setting) -> Figures:
    """Optuna's journal storage with the lock class that the notes' figure is of."""
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    def write(file: Path) -> None:
        JournalFileBackend(str(file), JournalFileOpenLock(str(file))).append_logs([{"op": 0}])

    few = Setting(min(setting.size, 2), setting.seed, setting.folder)
    return _waits(few, OPTUNA, lambda file: file.touch(), write)


EXPERIMENT = Experiment(
    name="R2",
    test="a writer is killed while it holds the store's lock",
    target="the next writer waits at most 1 s",
    unit="kills",
    short=2,
    long=40,
    ours=ours,
    met=lambda f: f["written"] > 0,
    in_time=lambda f: f["longest wait s"] <= 1.0,
    controls={"lock file with 2 s of grace": lock_file},
    peers={"Optuna journal": optuna_journal},
)
