"""R8: a process is killed while it writes a report over the last one; what lies there must be one of the two, whole."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from faults.frame import Experiment, Figures, Setting

SIZE = 2 * 2**20  #: characters of a report
Write = Callable[[Path, str], None]


def _page(number: int) -> str:
    """A report that carries its own hash."""
    body = f"{number:012d}" * (SIZE // 12)
    return hashlib.sha256(body.encode()).hexdigest() + body


def _whole(file: Path) -> bool:
    text = file.read_text("utf-8", "replace")
    return len(text) > 64 and hashlib.sha256(text[64:].encode()).hexdigest() == text[:64]


def _writing(write: Write, file: Path, ready: int, busy: int) -> None:
    """Write one report after the other; a byte goes out once, when the first is done, and around each write."""
    pages = [_page(n) for n in range(5)]
    write(file, pages[0])
    os.write(ready, b"r")
    number = 0
    while True:
        os.write(busy, b"<")
        write(file, pages[number % 5])
        os.write(busy, b">")
        number += 1


def _killed(setting: Setting, write: Write) -> Figures:
    chance = random.Random(setting.seed)
    found: Figures = {"kills": 0, "in the middle of a write": 0, "torn": 0, "left over MB": 0}
    fork = multiprocessing.get_context("fork")
    for number in range(setting.size):
        file = setting.folder / f"report-{number % 8}.html"
        ready, busy = os.pipe(), os.pipe()
        child = fork.Process(target=_writing, args=(write, file, ready[1], busy[1]))
        child.start()
        os.read(ready[0], 1)
        time.sleep(chance.uniform(0.0, 0.03))
        child.kill()
        child.join()
        os.close(busy[1])
        marks = b""
        # What was written before the kill is still in the pipe.
        while chunk := os.read(busy[0], 65536):
            marks += chunk
        for end in (*ready, busy[0]):
            os.close(end)
        found["kills"] += 1
        found["in the middle of a write"] += marks.endswith(b"<")
        found["torn"] += not _whole(file)
    found["left over MB"] = sum(p.stat().st_size for p in setting.folder.iterdir() if p.name.startswith(".")) >> 20
    return found


def ours(setting: Setting) -> Figures:
    from workbench.report.files import write_atomically

    found = _killed(setting, write_atomically)
    write_atomically(setting.folder / "report-0.html", "x")  # the next writer sweeps what killed ones left
    left = [p for p in setting.folder.iterdir() if p.name.startswith(".")]
    return found | {"left over MB": sum(p.stat().st_size for p in left) >> 20}


def in_place(setting: Setting) -> Figures:
    return _killed(setting, lambda file, text: file.write_text(text, "utf-8"))  # type: ignore[arg-type, return-value]


def papermill(setting: Setting) -> Figures:
    from papermill.iorw import LocalHandler

    handler = LocalHandler()
    return _killed(setting, lambda file, text: handler.write(text, str(file)))


EXPERIMENT = Experiment(
    name="R8",
    test="a process is killed while it writes a report of 2 MB over the last one",
    target="none torn, with at least a quarter of the kills in the middle of a write; nothing left after the next",
    unit="kills",
    short=20,
    long=200,
    ours=ours,
    met=lambda f: not f["torn"] and f["in the middle of a write"] * 4 >= f["kills"] > 0 and not f["left over MB"],
    controls={"written in place": in_place},
    peers={"papermill's writer": papermill},
)
