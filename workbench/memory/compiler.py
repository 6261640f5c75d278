"""Compile a small C++ file against torch once per machine and keep the result by content."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workbench.core import paths
from workbench.core.errors import ResourceMissing

ANSWERS = 60  #: seconds a compiler is given to say its version
COMPILES = 600  #: seconds it is given to compile one file; a slow board takes a minute
FLAGS = ("-O2", "-std=c++20", "-fPIC", "-shared", "-w")


@functools.cache
def compiler_at_hand() -> tuple[str, ...] | None:
    """Command of the C++ compiler: ``CXX``, or where that is not set g++, else clang++, else c++; ``None`` without one.

    A ``CXX`` that names no program is not passed over: whoever set it wants to know.
    """
    own = shlex.split(os.environ.get("CXX", ""))
    for name, *options in [own] if own else [["g++"], ["clang++"], ["c++"]]:
        found = shutil.which(name)
        if found:
            return found, *options
    return None


@functools.cache
def _compiler() -> tuple[tuple[str, ...], str]:
    """Command and version line of the C++ compiler. Raises ``ResourceMissing``."""
    command = compiler_at_hand()
    if command is None and os.environ.get("CXX"):
        own = os.environ["CXX"]
        raise ResourceMissing(f"CXX names {own!r}, which is no program here; unset it or name a C++ compiler")
    if command is None:
        raise ResourceMissing("no C++ compiler was found (tried g++, clang++ and c++)")
    shown = _ran([command[0], "--version"], ANSWERS)
    return command, shown.stdout.splitlines()[0] if shown.stdout else ""


def _ran(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """The command once it has ended. Raises ``ResourceMissing`` where it does not end in time or cannot begin."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise ResourceMissing(f"the compiler {command[0]} did not end within {seconds:g} s") from error
    except OSError as error:
        raise ResourceMissing(f"the compiler {command[0]} does not run here: {error}") from error


def compiled(source: Path, libraries: Sequence[str] = ("c10",), flags: Sequence[str] = ()) -> Path:
    """Path of the shared object made from ``source``; compiles at most once per content, compiler and torch.

    Safe when several processes ask at once. Raises ``ResourceMissing`` with the reason when it cannot be made.
    """
    import torch
    from filelock import FileLock

    compiler, version = _compiler()
    root = Path(torch.__file__).parent
    text = source.read_bytes()
    stamp = "\0".join([torch.__version__, version, *compiler[1:], *FLAGS, *flags, *libraries]).encode()
    target = paths.cache() / "kernels" / f"{source.stem}-{hashlib.sha256(stamp + text).hexdigest()[:20]}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock"), timeout=300):
            if not target.exists():
                _compile(compiler, source, target, root, libraries, flags)
    except OSError as error:
        raise ResourceMissing(f"{source.name} could not be compiled into {target.parent}: {error}") from error
    return target


def _compile(
    compiler: Sequence[str], source: Path, target: Path, root: Path, libraries: Sequence[str], flags: Sequence[str]
) -> None:
    partial = target.with_suffix(f".{os.getpid()}.partial")
    command = [*compiler, *FLAGS, *flags, f"-I{root / 'include'}", str(source), "-o", str(partial)]
    command += [f"-L{root / 'lib'}", *(f"-l{name}" for name in libraries)]
    try:
        done = _ran(command, COMPILES)
        if done.returncode != 0:
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise ResourceMissing(f"{source.name} does not compile here: {reason}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
