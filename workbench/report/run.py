"""Runs a notebook with checked parameters and leaves one report file, whatever happens on the way."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.core import paths
from workbench.core.errors import BadInput, ResourceMissing, UnknownName
from workbench.core.redaction import redacted
from workbench.report.execution import Limits, execute
from workbench.report.files import write_atomically
from workbench.report.parameters import Parameter, checked, declared


@dataclass(frozen=True)
class Rendered:
    """Where a report went. ``failed`` holds the numbers of failed cells; a caller exits with 1 when there are any.

    ``ended`` says how: a cell that failed, ran too long, took too much memory or passed the budget, a kernel that died,
    or an interrupt. Each leaves a page of what there is.
    """

    html: Path
    notebook: Path
    gallery: Path
    failed: tuple[int, ...]
    error: str = ""
    ended: str = "done"


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


def resolved(
    name: str, given: Mapping[str, Any], check: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """``given`` as the notebook's types, before any kernel starts; ``check`` sees all values, defaults included."""
    known = parameters(name)
    values = checked(known, dict(given))
    if check is not None:
        check({each: values.get(each, p.default) for each, p in known.items()})
    return values


def render(
    notebook_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
    out: Path | None = None,
    progress: bool = True,
    check: Callable[[dict[str, Any]], None] | None = None,
    limits: Limits | None = None,
) -> Rendered:
    """Execute a notebook under ``limits`` and write its report and the gallery.

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
    values = resolved(notebook_name, given, check)
    complete = {name: values.get(name, p.default) for name, p in known.items()}
    folder = _folder(out, notebook_name)
    created = datetime.now(UTC)
    stem = f"{created:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    started = time.monotonic()
    notebook = folder / f"{stem}.ipynb"
    ending = execute(source, notebook, values, limits or Limits(), progress=progress)
    if not notebook.exists():
        raise ResourceMissing(f"the notebook could not be run: {ending.text}")
    noted = {
        "name": notebook_name,
        "params": complete,
        "profile": str(complete.get("profile", "")),
        "created": f"{created:%Y-%m-%d %H:%M} UTC",
        "seconds": round(time.monotonic() - started, 1),
        "command": command_line(notebook_name, values),
        "status": ending.kind,
    }
    html, failed = _export(notebook, redacted(noted))
    from workbench.report.gallery import build

    gallery = build(folder.parent if out is None else folder)
    failed = failed or (() if ending.kind == "done" else (0,))
    return Rendered(html, notebook, gallery, failed, ending.text, ending.kind)


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


def _export(notebook: Path, noted: dict[str, Any]) -> tuple[Path, tuple[int, ...]]:
    import nbformat

    from workbench.report.exporter import to_html

    nb = nbformat.read(notebook, as_version=4)
    nb.metadata["pintpot"] = noted
    text, resources = to_html(nb)
    target = notebook.with_suffix(".html")
    write_atomically(target, text)
    return target, tuple(resources["failed"])
