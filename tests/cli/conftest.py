"""The command line in this process, with every folder it may write to in a temporary place."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Folders:
    """Where a command may write, and what lies there."""

    root: Path

    def files(self) -> set[str]:
        found = {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}
        # What peft's source says is read once and kept; it is no result of a command.
        return {f for f in found if not f.startswith("cache/peft-")}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    for name in ("cache", "runs", "reports"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"PINTPOT_{name.upper()}", str(tmp_path / name))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Folders(tmp_path)


@pytest.fixture
def pintpot(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """``pintpot("fit", "--budget", "0")``: run the command as the installed script would."""
    from workbench.cli import main

    thresholds, stop, hook = gc.get_threshold(), signal.getsignal(signal.SIGINT), sys.unraisablehook

    def call(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pintpot", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            gc.enable()  # a process of its own ends with its answer; this one goes on
            gc.set_threshold(*thresholds)
            signal.signal(signal.SIGINT, stop)
            sys.unraisablehook = hook
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
