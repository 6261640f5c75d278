"""Runs a notebook with checked parameters and leaves one report file, whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.core import paths
from workbench.core.errors import BadInput, UnknownName
from workbench.report.files import write_atomically
from workbench.report.parameters import Parameter, checked, declared

CELL_TIMEOUT = 6 * 3600  #: seconds; a hung cell ends the report instead of the night
KERNEL = "pintpot-here"


@dataclass(frozen=True)
class Rendered:
    """Where a report went. ``failed`` holds the numbers of failed cells; a caller exits with 1 when there are any."""

    html: Path
    notebook: Path
    gallery: Path
    failed: tuple[int, ...]
    error: str = ""


def available() -> dict[str, Path]:
    """Report names and their notebooks: ``10_compare_methods.ipynb`` is ``compare-methods``."""
    found = {}
    for path in sorted(paths.notebooks().glob("*.ipynb")):
        found[re.sub(r"^\d+[_-]", "", path.stem).replace("_", "-")] = path
    return found


def notebook_of(name: str) -> Path:
    """The notebook of a report name; anything else, a path above all, is an unknown name."""
    known = available()
    if name not in known:
        raise UnknownName("report", name, known)
    return known[name]


def parameters(name: str) -> dict[str, Parameter]:
    """The typed parameters that a report takes."""
    return declared(notebook_of(name))


def render(
    notebook_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
    out: Path | None = None,
    progress: bool = True,
    check: Callable[[dict[str, Any]], None] | None = None,
    cell_timeout: float = CELL_TIMEOUT,
) -> Rendered:
    """Execute a notebook in this interpreter and write its report and the gallery.

    ``params`` are checked by name and type before any kernel starts; ``check`` then sees all values, defaults
    included, and may refuse them (unknown task, impossible budget). ``out`` is a folder, by default
    ``reports/<name>``. Raises ``BadInput`` or ``UnknownName``; a failing cell raises nothing: the page is
    branded and ``Rendered.failed`` says where.
    """
    source = notebook_of(notebook_name)
    given = dict(params or {})
    known = declared(source)
    if profile is not None:
        given.setdefault("profile", profile)
    values = checked(known, given)
    complete = {name: values.get(name, p.default) for name, p in known.items()}
    if check is not None:
        check(complete)
    folder = _folder(out, notebook_name)
    created = datetime.now(UTC)
    stem = f"{created:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    started = time.monotonic()
    notebook = folder / f"{stem}.ipynb"
    error = _execute(source, notebook, values, progress, cell_timeout)
    noted = {
        "name": notebook_name,
        "params": complete,
        "profile": str(complete.get("profile", "")),
        "created": f"{created:%Y-%m-%d %H:%M} UTC",
        "seconds": round(time.monotonic() - started, 1),
        "command": command_line(notebook_name, values),
        "status": "failed" if error else "done",
    }
    html, failed = _export(notebook, noted)
    from workbench.report.gallery import build

    root = folder.parent if out is None else folder
    return Rendered(html, notebook, build(root), failed or ((0,) if error else ()), error)


def command_line(name: str, values: Mapping[str, Any]) -> str:
    """The command that makes the report again, quoted for a shell."""
    words = ["pintpot", "report", name]
    for key, value in values.items():
        words += ["-p", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)


def _folder(out: Path | None, name: str) -> Path:
    """An absolute folder for the report. The runner fills braces in paths, so a path with braces is refused."""
    folder = (Path(out) if out is not None else paths.reports() / name).expanduser().resolve()
    if "{" in str(folder) or "}" in str(folder):
        raise BadInput("output folder", str(folder), "a path without braces")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _execute(source: Path, target: Path, values: Mapping[str, Any], progress: bool, timeout: float) -> str:
    """Run; returns the error of the failed cell in one line, or an empty text. The partial notebook is kept."""
    import logging

    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.WARNING)
    with _this_interpreter(), _whole_files(target.parent):
        try:
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=dict(values),
                kernel_name=KERNEL,
                progress_bar=progress,
                log_output=False,
                cwd=str(source.parent),
                start_timeout=180,
                execution_timeout=int(timeout),
            )
        except KeyboardInterrupt:
            # The sockets to the kernel are closed under the loops that wait on them, which is no news to anyone.
            for name in ("asyncio", "tornado.application", "tornado.general", "traitlets"):
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            raise
        except PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}".splitlines()[0]
        except Exception as error:  # a dead kernel or a timeout: the partial notebook is still worth reading
            if not target.exists():
                raise
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


@contextlib.contextmanager
def _this_interpreter() -> Iterator[None]:
    """A kernel specification for exactly this Python, found before any other, for as long as the run lasts.

    The kernel is told that nobody looks on, so that panels leave data for the page instead of live views.
    """
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"],
        "display_name": "Python",
        "language": "python",
        "env": {"PINTPOT_HEADLESS": "1"},
    }
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory(prefix="pintpot-kernel-") as folder:
        place = Path(folder) / "kernels" / KERNEL
        place.mkdir(parents=True)
        (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        os.environ["JUPYTER_PATH"] = folder + (os.pathsep + before if before else "")
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("JUPYTER_PATH", None)
            else:
                os.environ["JUPYTER_PATH"] = before


@contextlib.contextmanager
def _whole_files(folder: Path) -> Iterator[None]:
    """Let papermill write notebooks into ``folder`` by rename, so that a kill never leaves half a file."""
    from papermill.iorw import LocalHandler, papermill_io

    class AtomicHandler(LocalHandler):
        def write(self, buf: str, path: str) -> None:
            write_atomically(Path(path), buf)

    entry = (str(folder), AtomicHandler())
    papermill_io._handlers.insert(0, entry)
    try:
        yield
    finally:
        papermill_io._handlers.remove(entry)


def _export(notebook: Path, noted: dict[str, Any]) -> tuple[Path, tuple[int, ...]]:
    import nbformat

    from workbench.report.exporter import to_html

    nb = nbformat.read(notebook, as_version=4)
    nb.metadata["pintpot"] = noted
    text, resources = to_html(nb)
    target = notebook.with_suffix(".html")
    write_atomically(target, text)
    return target, tuple(resources["failed"])
