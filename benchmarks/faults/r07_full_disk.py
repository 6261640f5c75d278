"""R7: the disk is full at many different moments of a run with checkpoints; what was there before stays whole."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from faults.children import child
from faults.frame import Absent, Experiment, Figures, Setting
from workbench.records.sealed import unsealed
from workbench.records.store import RunStore

COMMAND = ["run", "--task", "tokens", "--model", "tiny-bert", "--train", "8", "--test", "4", "--epochs", "3", "--batch",
           "4", "--length", "8", "--budget", "512MiB", "--checkpoint-every", "1", "--json"]  # fmt: skip

#: What is run when the disk is nearly full: large checkpoints, and small ones so that the record itself finds no room.
RUNS = (["--method", "full"], ["--method", "head"])
ROOM = (6_000_000, 180_000)  #: most bytes left for each of them; all too few


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A disk of its own, so that it can be filled. Raises ``Absent`` where nothing may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        raise Absent("filling a disk needs the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _sized(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def command(says: Connection, arguments: list[str], folder: str, careless: bool, largest: int) -> None:
    """Run the command line; says its exit code, what it printed, and its last line of complaint.

    ``careless`` leaves out the look at the free space beforehand, so that the writing itself fails; ``largest`` is the
    most bytes a file may have (0: no limit).
    """
    from workbench.checkpoints import keeper
    from workbench.cli import main

    os.environ["PINTPOT_RUNS"] = folder
    if careless:
        keeper._require = lambda *_: None  # type: ignore[assignment]
    if largest:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    said, complaint, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["pintpot", *arguments]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    says.send((code, said.getvalue(), complaint.getvalue().strip()))


def _run(arguments: list[str], folder: Path, careless: bool = False, largest: int = 0) -> tuple[int, str, str]:
    heard = child(command, [*COMMAND, *arguments], str(folder), careless, largest).rest()
    return heard[-1] if heard and heard[-1][0] != "failed" else (-1, "", str(heard))


def _losses(printed: str) -> list[float]:
    return [step["loss"] for step in json.loads(printed)["steps"]]


def ours(setting: Setting) -> Figures:
    chance = random.Random(setting.seed)
    found: Figures = {"points": 0, "ended with code 4 in one sentence": 0, "state before verified": 0,
                      "same result with room again": 0, "stopped while writing": 0}  # fmt: skip
    whole = [_losses(_run([*way, "--seed", "1"], setting.folder / f"whole-{i}")[1]) for i, way in enumerate(RUNS)]
    for number in range(setting.size):
        kind = number % len(RUNS)
        folder = setting.folder / f"disk-{number}"
        with disk(folder):
            first = _run(["--method", "head"], folder)
            assert first[0] == 0, first
            before = list(RunStore(folder).records())
            used = os.statvfs(folder)
            room = int(ROOM[kind] * (number // 2 + chance.random()) / (setting.size / 2))
            _sized(folder, (used.f_blocks - used.f_bfree) * used.f_frsize + room)
            code, _, complaint = _run([*RUNS[kind], "--seed", "1"], folder, careless=bool(number // 2 % 2))
            found["points"] += 1
            found["ended with code 4 in one sentence"] += code == 4 and len(complaint.splitlines()) == 1
            found["stopped while writing"] += "where about" not in complaint
            found["state before verified"] += _verified(folder) and list(RunStore(folder).records()) == before
            _sized(folder, 64 << 20)
            code, printed, _ = _run([*RUNS[kind], "--seed", "1"], folder)
            found["same result with room again"] += code == 0 and _losses(printed) == whole[kind]
    return found


def _verified(folder: Path) -> bool:
    """Every checkpoint under its name is whole, nothing half-written lies beside, the store complains of nothing."""
    kept = list((folder / "checkpoints").glob("*/*"))
    for state in kept:
        if state.suffix:
            return False
        unsealed(state)
    return not RunStore(folder).health().complaints


def in_place(setting: Setting) -> Figures:
    """The usual habit: one JSON file rewritten with every run."""
    found: Figures = {"points": 0, "ended with code 4 in one sentence": 0, "state before verified": 0}
    for number in range(min(setting.size, 5)):
        folder = setting.folder / f"disk-{number}"
        with disk(folder):
            _sized(folder, 100_000 * (number + 1))
            runs: list[dict[str, object]] = []
            file = folder / "runs.json"
            try:
                while True:
                    runs.append({"id": len(runs), "steps": list(range(1000))})
                    file.write_text(json.dumps(runs))
            except OSError:
                found["points"] += 1
            try:
                found["state before verified"] += json.loads(file.read_text()) == runs[:-1]
            except ValueError:
                continue
    return found


def papermill(setting: Setting) -> Figures:
    """Its writer puts a notebook of 2 MB over the one before while the disk has room for a part of it."""
    import nbformat
    from papermill.iorw import LocalHandler

    def notebook(number: int) -> str:
        return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"{number:08d}" * 250_000)]))

    found: Figures = {"points": 0, "state before verified": 0}
    for number in range(setting.size):
        folder = setting.folder / f"disk-{number}"
        with disk(folder):
            _sized(folder, 100_000 + 2_000_000 * number // setting.size)
            file = folder / "notebook.ipynb"
            before, after = nbformat.writes(nbformat.v4.new_notebook()), notebook(number)
            file.write_text(before)
            with contextlib.suppress(OSError):
                LocalHandler().write(after, str(file))
            found["points"] += 1
            found["state before verified"] += file.read_text() in (before, after)
    return found


EXPERIMENT = Experiment(
    name="R7",
    test="the disk is full at a different moment of a run with a checkpoint at each step",
    target="each ends with exit code 4 in one sentence, what was there before is whole, the same command with room "
    "again ends in the same losses",
    unit="full disks",
    short=6,
    long=40,
    ours=ours,
    met=lambda f: all(f.get(name, 0) == f["points"] > 0 for name in (
        "ended with code 4 in one sentence", "state before verified", "same result with room again")),
    controls={"JSON in place": in_place},
    peers={"papermill's writer": papermill},
    note="a memory disk of a size that leaves 0 to 6 MB; at every other point the look at the free space beforehand is "
    "left out, so that writing itself fails.",
)  # fmt: skip
