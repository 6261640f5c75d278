"""The process that a notebook runs under: papermill, the kernel's limits, and the end of everything it started.

``python -m workbench.report.runner`` reads one job as JSON from standard input and answers with one line of JSON.
What libraries print goes to its log. TERM means the same as INT: the partial notebook is saved, then all is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from workbench.core.redaction import redacted
from workbench.core.units import format_size
from workbench.report.files import write_atomically
from workbench.report.kernel import MEMORY, die_with_parent
from workbench.report.schemas import quick_schemas

KERNEL = "pintpot-here"
LOOK_EVERY = 0.25  #: seconds between two looks at the memory of what was started
_PR_SET_CHILD_SUBREAPER = 36
_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory", "std::bad_alloc")


def main() -> None:
    """One job. ``{"kind": "done" | "failed" | ..., "text": one line}`` stands in the last line of the answer."""
    quick_schemas()
    job = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent(signal.SIGTERM)
    if sys.platform == "linux":  # what a kernel leaves behind becomes ours, so that it can be ended
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    watch = _Watch(job["memory"])
    kind, text = "failed", ""
    try:
        kind, text = _ended(job, watch)
    except KeyboardInterrupt:
        kind, text = "interrupted", "stopped on request"
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        watch.over.set()
        _end_descendants()
    if kind not in ("done", "failed", "over budget"):
        _note(Path(job["target"]), kind, text)
    answer.write(json.dumps({"kind": kind, "text": redacted(text)}) + "\n")
    answer.flush()


def _ended(job: Mapping[str, Any], watch: _Watch) -> tuple[str, str]:
    """Run papermill and say how that ended."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        _papermill(job, watch)
    except PapermillExecutionError as error:
        said = f"{error.ename}: {error.evalue}".splitlines()[0]
        return _kind_of(error.ename, error.evalue), said
    except CellTimeoutError:
        return "timed out", f"the cell ran longer than its {job['cell_timeout']:.0f} s and was ended"
    except DeadKernelError:
        if watch.passed:
            return "out of memory", watch.sentence
        return "kernel died", "the kernel died in this cell"
    return "done", ""


def _kind_of(name: str, said: str) -> str:
    if name == "BudgetExceeded":
        return "over budget"
    if name == "MemoryError" or any(words in str(said).lower() for words in _OUT_OF_MEMORY):
        return "out of memory"
    return "failed"


def _papermill(job: Mapping[str, Any], watch: _Watch) -> None:
    import logging

    import papermill

    logging.getLogger("papermill").setLevel(logging.WARNING)
    target = Path(job["target"])
    # The bar is drawn where the user looks; everything else that is said goes to the log.
    bar = {"file": os.fdopen(job["screen"], "w")} if job["screen"] is not None else False
    with _this_interpreter(job["memory"]), _whole_files(target):
        watch.start()
        papermill.execute_notebook(
            job["source"],
            job["target"],
            parameters=job["values"],
            kernel_name=KERNEL,
            progress_bar=bar,
            log_output=False,
            cwd=str(Path(job["source"]).parent),
            start_timeout=180,
            execution_timeout=max(1, int(job["cell_timeout"])),
            autosave_cell_every=2,
        )


class _Watch(threading.Thread):
    """Ends the kernel when all that was started holds more memory than it may. ``limit`` is bytes."""

    def __init__(self, limit: int | None) -> None:
        super().__init__(daemon=True)
        self.limit = limit or psutil.virtual_memory().total * 9 // 10
        self.over = threading.Event()
        self.passed = False
        self.sentence = f"the kernel held more than {format_size(self.limit)} of memory and was ended"

    def run(self) -> None:
        own = psutil.Process()
        while not self.over.wait(LOOK_EVERY):
            held = 0
            started = own.children(recursive=True)
            for process in started:
                with contextlib.suppress(psutil.Error):
                    held += process.memory_info().rss
            if held > self.limit:
                self.passed = True
                _kill(started)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _end_descendants() -> None:
    """Nothing that the notebook started outlives its run."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        left = psutil.Process().children(recursive=True)
        if not left:
            return
        _kill(left)
        psutil.wait_procs(left, timeout=1)


def _note(target: Path, kind: str, text: str) -> None:
    """Put how it ended into the cell that was running, so that the page brands it."""
    import nbformat
    from nbformat.v4 import new_output

    if not target.exists():
        return
    notebook = nbformat.read(target, as_version=4)
    begun = [c for c in notebook.cells if c.cell_type == "code" and c.metadata.get("papermill", {}).get("start_time")]
    if begun and not any(o.output_type == "error" for o in begun[-1].outputs):
        begun[-1].outputs.append(new_output("error", ename=kind.capitalize(), evalue=text, traceback=[]))
        write_atomically(target, nbformat.writes(notebook))


@contextlib.contextmanager
def _this_interpreter(memory: int | None) -> Iterator[None]:
    """A kernel specification for exactly this Python, found before any other, for as long as the run lasts.

    The kernel is told that nobody looks on, so that panels leave data for the page instead of live views.
    """
    environment = {"PINTPOT_HEADLESS": "1"} | ({MEMORY: str(memory)} if memory else {})
    command = [sys.executable, "-m", "workbench.report.kernel", "--log-level=ERROR", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python", "language": "python", "env": environment}
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory(prefix="pintpot-kernel-") as folder:
        place = Path(folder) / "kernels" / KERNEL
        place.mkdir(parents=True)
        (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        os.environ["JUPYTER_PATH"] = folder + (os.pathsep + before if before else "")
        yield


@contextlib.contextmanager
def _whole_files(target: Path) -> Iterator[None]:
    """Let papermill write the one notebook, by rename and without anything personal, and read local files only.

    Its other handlers speak to networks; for the time of a run they are not there.
    """
    from papermill.iorw import LocalHandler, papermill_io

    class AtomicHandler(LocalHandler):
        def write(self, buf: str, path: str) -> None:
            if Path(path) != target:
                raise PermissionError("a notebook run writes one notebook")
            write_atomically(target, without_personal(buf))

    before = papermill_io._handlers
    papermill_io._handlers = [("", AtomicHandler())]
    try:
        yield
    finally:
        papermill_io._handlers = before


def without_personal(text: str) -> str:
    """The JSON of a notebook without papermill's paths, and with paths, names and secrets of this machine redacted."""
    notebook = json.loads(text)
    noted = notebook.get("metadata", {}).get("papermill", {})
    for name in ("input_path", "output_path", "environment_variables", "parameters", "default_parameters"):
        noted.pop(name, None)
    return json.dumps(redacted(notebook), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
