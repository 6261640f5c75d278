"""R3: a store whose file was cut off or has one byte changed must give back every other run, and no run changed."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

from faults.damage import flip, tear
from faults.examples import RECORD
from faults.frame import Experiment, Figures, Setting
from workbench.core.errors import PintpotError
from workbench.records.schema import RunRecord
from workbench.records.store import RunStore

RUNS = 60


def _made(folder: Path, *, closed: bool) -> list[RunRecord]:
    """A store of runs; not ``closed``, most of them are still in its log, as after a kill."""
    store = RunStore(folder / "open")
    records = [replace(RECORD, id=f"run-{n:03}", seed=n, seconds=n / 7) for n in range(RUNS)]
    for record in records:
        store.put(f"key-{record.seed}", record)
    shutil.copytree(folder / "open", folder / "made")  # the log beside it, as a kill would leave it
    if closed:
        for shelf in store._shelves():
            shelf.close()
        shutil.rmtree(folder / "made")
        shutil.copytree(folder / "open", folder / "made")
    shutil.rmtree(folder / "open")
    return records


def _variants(setting: Setting, *, copy: bool) -> Figures:
    """Half of them in a closed store, half in one with a log; half cut off, half with one bit changed."""
    chance = random.Random(setting.seed)
    found: Figures = {"variants": 0, "lost with the damaged one": 0, "changed": 0, "unreadable stores": 0,
                      "writers that failed": 0}  # fmt: skip
    for closed in (True, False):
        home = setting.folder / str(closed)
        records = _made(home, closed=closed)
        for number in range(setting.size // 2):
            folder = home / "case"
            shutil.copytree(home / "made", folder)
            if not copy:
                for file in folder.glob("runs-copy*"):
                    file.unlink()
            victims = sorted(f for f in folder.glob("runs.sqlite*") if f.suffix != ".lock" and "shm" not in f.name)
            victim = max(victims, key=lambda f: f.stat().st_size) if number % 3 else chance.choice(victims)
            if victim.stat().st_size:
                (flip if number % 2 else tear)(victim, chance)
            _judge(folder, records, found)
            shutil.rmtree(folder)
    return found


def _judge(folder: Path, records: list[RunRecord], found: Figures) -> None:
    """One run may be lost to the damage, if the store says so; every other must be there, and equal."""
    found["variants"] += 1
    store = RunStore(folder)
    wanted = {record.id: record for record in records}
    try:
        lines = {line.id: line for line in store.lines()}
        there = {record.id: record for record in store.records()}
    except Exception:  # a peer of the same shape may raise anything; then nothing was read
        lines, there = {}, {}
        found["unreadable stores"] += 1
    missing = len(wanted.keys() - there.keys())
    found["lost with the damaged one"] += max(0, missing - 1)
    found["changed"] += sum(there[run] != wanted.get(run) for run in there)
    found["changed"] += sum(line.accuracy != 0.75 or line.seed != wanted[run].seed for run, line in lines.items())
    try:
        store.put("new", replace(RECORD, id="new"))
        found["writers that failed"] += store.get("new").id != "new"
    except PintpotError:
        found["writers that failed"] += 1


def ours(setting: Setting) -> Figures:
    return _variants(setting, copy=True)


def one_file(setting: Setting) -> Figures:
    """The same store without its copy: what SQLite alone can give back."""
    return _variants(setting, copy=False)


def optuna_journal(setting: Setting) -> Figures:
    """Optuna's journal under the same damage."""
    import optuna

    from faults.r01_killed_sweep import _peer_storage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chance = random.Random(setting.seed)
    home = setting.folder / "made"
    home.mkdir()
    study = optuna.create_study(study_name="peer", storage=_peer_storage("journal", str(home)))
    for number in range(RUNS):
        study.add_trial(optuna.create_trial(value=0.75 + number, user_attrs={"number": number}))
    found: Figures = {"variants": 0, "lost with the damaged one": 0, "changed": 0, "unreadable stores": 0,
                      "writers that failed": 0}  # fmt: skip
    for number in range(setting.size):
        folder = setting.folder / "case"
        shutil.copytree(home, folder)
        (flip if number % 2 else tear)(folder / "peer.journal", chance)
        found["variants"] += 1
        values: dict[int, float | None] = {}
        try:
            again = optuna.load_study(study_name="peer", storage=_peer_storage("journal", str(folder)))
            values = {t.user_attrs["number"]: t.value for t in again.get_trials(deepcopy=False)}
        except (KeyError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError, ValueError):
            found["unreadable stores"] += 1
        found["lost with the damaged one"] += max(0, RUNS - len(values) - 1)
        found["changed"] += sum(value != 0.75 + n for n, value in values.items())
        try:
            again.add_trial(optuna.create_trial(value=0.0))
        except Exception:
            found["writers that failed"] += 1
        shutil.rmtree(folder)
    return found


EXPERIMENT = Experiment(
    name="R3",
    test=f"the file of a store of {RUNS} runs, or its log, is cut off at a random byte or has one bit flipped",
    target="every run but the damaged one is read back equal, none changed, and the next writer writes",
    unit="damaged stores",
    short=24,
    long=200,
    ours=ours,
    met=lambda f: not any(n for name, n in f.items() if name != "variants")
    and f["variants"] > 0,
    controls={"one file without its copy": one_file},
    peers={"Optuna, journal": optuna_journal},
)  # fmt: skip
