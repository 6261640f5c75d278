"""A Python file of the user's own, run as a module that is in no package: what it registers needs no installation."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from workbench.core.errors import BadInput


def named(variable: str) -> list[str]:
    """Files that an environment variable lists, absolute, separated as in ``PATH``; none for an unset variable."""
    listed = os.environ.get(variable, "").split(os.pathsep) if variable else []
    return [str(Path(name).expanduser().absolute()) for name in listed if name.strip()]


def executed(file: Path, kind: str) -> None:
    """Run ``file``, which is meant to hold a ``kind``; a second time it is run anew.

    Raises ``BadInput`` with the line and the error when it does not run.
    """
    field = f"{kind} file"
    if file.suffix != ".py" or not file.is_file():
        raise BadInput(field, str(file), "a Python file that exists, such as my_method.py")
    # Classes look up their annotations in the module they name, so it stands among the modules while it runs.
    name = f"pintpot_own_{file.stem}"
    try:
        module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, file))  # type: ignore[arg-type]
        sys.modules[name] = module
        # Compiled here: a file written twice within a second would be taken from the cache of compiled files.
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    except Exception as error:
        raise BadInput(field, file.name, f"a file that runs; {_said(error, file)}") from error


def _said(error: Exception, file: Path) -> str:
    """Kind of error, its text on one line, and the line of the file that it came from."""
    trace, line = error.__traceback__, getattr(error, "lineno", None)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" in line {line}" if line else ""
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())[:200]}".rstrip(".: ")


MOST = 1000  #: files of a package that are read; of further ones only size and date count
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+\.*(\w+)", re.MULTILINE)


def digest_of_module(name: str) -> str:
    """First digits of the SHA-256 of the code that a loaded module came with; empty for a module without a file.

    That is every Python file of its package; of a module in no package the file and those beside it that it imports.
    """
    file = getattr(sys.modules.get(name), "__file__", None)
    if not file:
        return ""
    root = getattr(sys.modules.get(name.partition(".")[0]), "__path__", None)
    files = sorted(f for place in root for f in Path(place).rglob("*.py")) if root else [*_with_imported(Path(file))]
    digest = hashlib.sha256()
    for number, one in enumerate(files):
        state = one.stat()
        digest.update(one.read_bytes() if number < MOST else f"{one} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _with_imported(file: Path) -> Iterator[Path]:
    """The file and what it imports, directly or not, from single files in its own folder."""
    waiting, seen = [file], {file}
    while waiting:
        one = waiting.pop()
        yield one
        text = one.read_text(encoding="utf-8", errors="replace")
        beside = {file.with_name(f"{name}.py") for name in _IMPORT.findall(text)} - seen
        found = sorted(other for other in beside if other.is_file())
        seen.update(found)
        waiting += found
