"""A Python file of the user's own, run as a module that is in no package: what it registers needs no installation."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
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


def digest_of_module(name: str) -> str:
    """First digits of the SHA-256 of the file a loaded module came from; empty for a module without one."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""
