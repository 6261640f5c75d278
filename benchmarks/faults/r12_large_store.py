"""R12: a store of very many runs is listed at once, and a sweep sees at once what is done."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from faults.examples import RECORD
from faults.frame import Experiment, Figures, Setting
from workbench.records.schema import StepRecord
from workbench.records.store import RunStore
from workbench.records.tables import CHECKED, BodyRow, LineRow, checksum, rows_of

STEPS = 100  #: metric rows of a run

LOOK = """
import json, sys, time
from pathlib import Path
started = time.process_time()
from workbench.records.store import RunStore
store = RunStore(Path(sys.argv[1]))
newest = store.lines(40)
first = time.process_time() - started
started = time.process_time()
every = len(store.lines())
whole = time.process_time() - started
started = time.process_time()
done = len(store.finished_keys())
scan = time.process_time() - started
started = time.process_time()
steps = len(store.get(newest[0].id).steps)
print(json.dumps({"runs": every, "first page s": first, "listing s": whole, "resume scan s": scan, "done": done,
    "one record s": time.process_time() - started, "its metric rows": steps,
    "peak memory MB": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024}))
"""


def _filled(folder: Path, runs: int) -> RunStore:
    """Runs of 100 steps each, written in bulk as the store would write them one by one."""
    store = RunStore(folder)
    steps = tuple(StepRecord(i, 2.0 / (1 + i), 0.01, 1000 + i, 1e-3) for i in range(STEPS))
    line, body = rows_of("key", replace(RECORD, id="@@@@", seed=0, steps=steps))
    text = zlib.decompress(body["record"]).decode()
    for shelf in store._shelves():
        for first in range(0, runs, 5000):
            numbers = range(first, min(first + 5000, runs))
            rows = [_numbered(line, text, number) for number in numbers]
            with shelf.engine.begin() as connection:
                connection.execute(insert(LineRow), [row[0] for row in rows])
                connection.execute(insert(BodyRow), [row[1] for row in rows])
        shelf.close()
    return store


def _numbered(line: dict[str, Any], text: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    name = f"run-{number:07}"
    raw = text.replace("@@@@", name).replace('"seed": 0', f'"seed": {number}').encode()
    row = {**line, "id": name, "key": hashlib.sha256(name.encode()).hexdigest(), "seed": number}
    row["sha256"] = hashlib.sha256(raw).hexdigest()
    row["checksum"] = checksum(tuple(row[c] for c in CHECKED))
    return row, {"id": name, "record": zlib.compress(raw, 1)}


def ours(setting: Setting) -> Figures:
    store = _filled(setting.folder, setting.size)
    assert not store.damaged() if setting.size < 5000 else store.get("run-0000000").seed == 0
    command = [sys.executable, "-c", LOOK, str(setting.folder)]
    figures: Figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    size = sum(f.stat().st_size for f in setting.folder.iterdir())
    return {**figures, "metric rows": setting.size * STEPS, "on disk MB": size / 1e6}


def reading_records(setting: Setting) -> Figures:
    """A listing that reads the records themselves; stopped after 3 s."""
    store = _filled(setting.folder, min(setting.size, 10_000))
    started, count = time.process_time(), 0
    for _ in store.records():
        count += 1
        if time.process_time() - started > 3:
            break
    seconds = time.process_time() - started
    return {"runs": count, "listing s": seconds, "resume scan s": seconds, "peak memory MB": 0.0, "done": count}


def optuna_sqlite(setting: Setting) -> Figures:
    """A twentieth as many trials in Optuna on SQLite, without any metric rows."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url, runs = f"sqlite:///{setting.folder}/peer.sqlite", setting.size // 20
    study = optuna.create_study(study_name="peer", storage=url)
    study.add_trials([optuna.create_trial(value=0.75, user_attrs={"key": str(n)}) for n in range(runs)])
    started = time.process_time()
    found = len(optuna.load_study(study_name="peer", storage=url).get_trials(deepcopy=False))
    return {"runs": found, "listing s": time.process_time() - started}


EXPERIMENT = Experiment(
    name="R12",
    test=f"very many runs of {STEPS} metric rows each are listed by a fresh process",
    target="listing at most 1 s, resume scan at most 2 s, memory at most 300 MB",
    unit="runs",
    short=3_000,
    long=100_000,
    ours=ours,
    met=lambda f: f["peak memory MB"] <= 300 and f["done"] == f["runs"],
    in_time=lambda f: f["listing s"] <= 1 and f.get("first page s", 0) <= 1 and f["resume scan s"] <= 2,
    controls={"a listing that reads the records": reading_records},
    peers={"Optuna, SQLite, a twentieth of the runs": optuna_sqlite},
    note="*first page* is the newest 40 with imports; *listing* is every run with its checksum verified. Seconds are "
    "CPU seconds, so that a busy machine does not decide.",
)  # fmt: skip
