"""A server that does not answer TERM is ended all the same, with what it has started."""

import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from workbench.cli import serving

#: Listens on a port, starts a process of its own, and ignores TERM.
DEAF = """
import signal, socket, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["sleep", "60"]).pid, file=open(sys.argv[2], "w"), flush=True)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    signal.pause()
"""


@dataclass(frozen=True)
class Deaf(serving.Server):
    def command(self) -> list[str]:
        return [sys.executable, "-c", DEAF, str(self.port), str(self.root / "pid")]


@pytest.mark.parametrize("patience", [0.3, 1.5])
def test_a_server_that_ignores_term_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(serving, "PATIENCE", patience)
    told: list[float] = []

    def ready(url: str) -> None:
        told.append(time.monotonic())
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    before = signal.getsignal(signal.SIGTERM)
    assert serving.serve(Deaf(tmp_path, port=port), ready) == -signal.SIGKILL
    assert time.monotonic() - told[0] > patience, "it is given its time first"
    assert signal.getsignal(signal.SIGTERM) is before
    child = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
