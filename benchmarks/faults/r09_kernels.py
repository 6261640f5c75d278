"""R9: kernels that hang, are deaf, die, or take all memory: each run ends, keeps what was printed, leaves nobody."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import psutil

from faults.frame import Experiment, Figures, Setting

LIMIT = 4.0  #: seconds for a cell
MEMORY = 600 * 2**20  #: bytes
SPAWN = "import subprocess; subprocess.Popen(['sleep', '600'])"
FAULTS = {
    "hung": "import time\ntime.sleep(600)",
    "deaf": "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\n"
    "while True:\n    try: time.sleep(600)\n    except BaseException: pass",
    "dying": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "out of memory": "kept = []\nwhile True: kept.append(bytearray(2**24))",
}
ENDS = {"hung": "timed out", "deaf": "timed out", "dying": "kernel died", "out of memory": "out of memory"}


def _notebook(file: Path, fault: str) -> Path:
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    code = f"{SPAWN}\nprint('kept line', flush=True)\nimport time; time.sleep(0.3)\n{FAULTS[fault]}"
    nbformat.write(new_notebook(cells=[new_code_cell("print('cell before')"), new_code_cell(code)]), file)
    return file


def ours(setting: Setting) -> Figures:
    from workbench.report.execution import Limits, execute

    found: Figures = {"runs": 0, "named rightly": 0, "partial output kept": 0, "longest over the limit s": 0.0}
    found["alive after"] = 0
    limits = Limits(LIMIT, MEMORY)
    for number in range(setting.size):
        for fault in FAULTS:
            source = _notebook(setting.folder / f"{fault} {number}.ipynb", fault)
            target, sleepers = setting.folder / f"out {fault} {number}.ipynb", _sleepers()
            started = time.monotonic()
            ending = execute(source, target, {}, limits)
            took = time.monotonic() - started
            found["runs"] += 1
            if ending.kind != ENDS[fault]:
                print(f"  {fault}: {ending}")
            found["named rightly"] += ending.kind == ENDS[fault]
            found["partial output kept"] += "kept line" in _printed(target)
            found["longest over the limit s"] = max(found["longest over the limit s"], took - LIMIT)
            found["alive after"] += len(_sleepers() - sleepers)
    return found


def _printed(file: Path) -> str:
    import nbformat

    cells = nbformat.read(file, as_version=4).cells
    return " ".join(str(o.get("text", "")) for c in cells for o in c.get("outputs", []))


def _sleepers() -> set[int]:
    """Kernels of this package's runs and what the notebooks above start."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[:2] == ["sleep", "600"] or "workbench.report.kernel" in words:
            found.add(process.pid)
    return found


def _plain_papermill(source: str, target: str) -> None:
    import papermill

    papermill.execute_notebook(source, target, kernel_name="python3", progress_bar=False)


def without_limits(setting: Setting) -> Figures:
    """papermill as it comes, on a hung cell; after 30 s we look no longer."""
    source = _notebook(setting.folder / "hung.ipynb", "hung")
    before, spawn = _sleepers(), multiprocessing.get_context("spawn")
    child = spawn.Process(target=_plain_papermill, args=(str(source), str(setting.folder / "out.ipynb")))
    child.start()
    child.join(LIMIT + 20)
    endless = child.is_alive()
    for process in psutil.Process(child.pid).children(recursive=True) if endless else []:
        process.kill()
    child.kill()
    child.join()
    left = _sleepers() - before
    for pid in left:
        psutil.Process(pid).kill()
    over = 20.0 if endless else 0.0
    return {"runs": 1, "named rightly": int(not endless), "partial output kept": 0, "longest over the limit s": over,
            "alive after": len(left)}  # fmt: skip


EXPERIMENT = Experiment(
    name="R9",
    test="kernels that hang, ignore signals, kill themselves, take all memory; each with a child of its own",
    target="each ended within 15 s of its limit, named, with what it printed kept and nothing of it alive",
    unit="rounds of four",
    short=1,
    long=10,
    ours=ours,
    met=lambda f: f["runs"] == f["named rightly"] == f["partial output kept"] > 0 and not f["alive after"],
    in_time=lambda f: f["longest over the limit s"] <= 15,
    controls={"papermill without limits, stopped after 24 s": without_limits},
    note="The time includes the start of runner and kernel. The control is also the peer.",
)
