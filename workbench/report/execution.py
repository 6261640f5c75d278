"""Run a notebook in a group of processes of its own, with limits, so that nothing of it can outlive or harm the caller.

The caller starts a runner, the runner papermill and a kernel. Ctrl-C and TERM reach the runner as INT: it saves what
there is, ends the kernel and whatever that started, and answers. Should the caller be killed, Linux tells the runner;
should the runner be killed, Linux ends the kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from workbench.core.errors import Interrupted

Kind = Literal["done", "failed", "timed out", "kernel died", "out of memory", "over budget", "interrupted"]
CELL_TIMEOUT = 6 * 3600.0  #: seconds; a hung cell ends the report instead of the night
GRACE = 20.0  #: seconds a runner has to save and end after it was asked to


@dataclass(frozen=True)
class Limits:
    """``cell_timeout`` is seconds for each cell. ``memory`` is bytes of a kernel's private data and, with what it
    starts, resident; ``None`` ends it only where the machine itself has little left."""

    cell_timeout: float = CELL_TIMEOUT
    memory: int | None = None


@dataclass(frozen=True)
class Ending:
    """How a run ended, with one line on why. The partial notebook is there in every case but a failed start."""

    kind: Kind
    text: str = ""


def execute(source: Path, target: Path, values: Mapping[str, Any], limits: Limits, *, progress: bool = False) -> Ending:
    """Run ``source`` into ``target``, saved whole after every cell and every two seconds.

    ``values`` are injected as they are: names and types have been checked. Raises ``Interrupted`` for a second
    Ctrl-C; the first one is an ending.
    """
    screen = os.dup(2) if progress else None
    job = {
        "source": str(source),
        "target": str(target),
        "values": dict(values),
        "cell_timeout": limits.cell_timeout,
        "memory": limits.memory,
        "screen": screen,
    }
    with tempfile.TemporaryFile() as log, _term_is_int():
        runner = subprocess.Popen(
            [sys.executable, "-m", "workbench.report.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=() if screen is None else (screen,),
            start_new_session=True,
        )
        try:
            said = _heard(runner, json.dumps(job).encode())
        finally:
            if screen is not None:
                os.close(screen)
            if runner.poll() is None:
                _kill(runner)
        return _ending(said, runner.returncode, log)


def _heard(runner: subprocess.Popen[bytes], job: bytes) -> bytes:
    """The runner's answer; an interrupt of ours is passed on, and what it then answers is the ending."""
    try:
        return runner.communicate(job)[0]
    except KeyboardInterrupt:
        runner.send_signal(signal.SIGINT)
    try:
        said = runner.communicate(timeout=GRACE)[0]
        return said or b'{"kind": "interrupted", "text": "stopped on request"}'
    except subprocess.TimeoutExpired:
        _kill(runner)
        return b'{"kind": "interrupted", "text": "stopped on request; the kernel did not answer and was killed"}'
    except KeyboardInterrupt:
        _kill(runner)
        raise Interrupted("left at once; the notebook holds what was saved last") from None


def _kill(runner: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()


def _ending(said: bytes, code: int | None, log: IO[bytes]) -> Ending:
    try:
        answer = json.loads(said.splitlines()[-1])
        return Ending(cast(Kind, answer["kind"]), str(answer["text"]))
    except (IndexError, ValueError, KeyError, TypeError):
        log.seek(0)
        lines = log.read()[-4000:].decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")
        return Ending("failed", f"the runner ended: {last[:300]}")


@contextlib.contextmanager
def _term_is_int() -> Iterator[None]:
    """TERM interrupts like Ctrl-C for the time of a run; in other threads than the first nothing can be set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
