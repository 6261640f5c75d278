"""A notebook server that only its owner can reach: its command line, its token, and how it is started and stopped."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from workbench.core.errors import BadInput, Unsafe, together

#: A folder of Jupyter's configuration. Its defaults keep the question about news from covering the notebook.
PINNED = Path(__file__).parent / "jupyter"

#: Seconds for which a server that was told to end may close its kernels before it is killed with them.
PATIENCE = 15.0


@dataclass(frozen=True)
class Server:
    """Where JupyterLab may listen. ``certificate`` and ``key`` are PEM files, wanted for any address but loopback.

    ``page`` is the notebook that is open at first, relative to ``root``.
    """

    root: Path
    address: str = "127.0.0.1"
    port: int = 8888
    certificate: Path | None = None
    key: Path | None = None
    browser: bool = True
    page: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def command(self) -> list[str]:
        """Arguments that pin what a configuration file of the user could have opened. No secret is among them.

        Raises ``Unsafe`` for an address beyond this machine without encryption, ``BadInput`` for what is no address.
        """
        self._check()
        pinned = {
            "ServerApp.root_dir": str(self.root),
            "ServerApp.ip": self.address,
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.terminals_enabled": False,
            "ServerApp.allow_remote_access": not self._loopback,
            "ServerApp.allow_origin": "",
            "ServerApp.allow_origin_pat": "",
            "ServerApp.allow_credentials": False,
            "ServerApp.allow_unauthenticated_access": False,
            "ServerApp.disable_check_xsrf": False,
            "ServerApp.identity_provider_class": "workbench.cli.identity.Owner",
            "Application.log_level": "WARN",
            "LabApp.default_url": self._path,
            "LabApp.news_url": None,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        if self.certificate and self.key:
            pinned |= {"ServerApp.certfile": str(self.certificate), "ServerApp.keyfile": str(self.key)}
        words = [f"--{name}={value}" for name, value in pinned.items()]
        own = [] if self.browser else ["--no-browser"]
        # A container's only account is often root; the address keeps others out there as everywhere.
        return [sys.executable, "-m", "jupyterlab", *words, *own, "--allow-root"]

    def environment(self) -> dict[str, str]:
        """The fresh token, handed over where other accounts cannot read it: command lines are public on a machine."""
        return {**os.environ, "JUPYTER_TOKEN": self.token, "JUPYTER_CONFIG_PATH": with_pinned("JUPYTER_CONFIG_PATH")}

    @property
    def url(self) -> str:
        """What to open in a browser. Whoever has it is let in."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{host}:{self.port}{self._path}?token={self.token}"

    @property
    def _path(self) -> str:
        return f"/lab/tree/{self.page}" if self.page else "/lab"

    @property
    def _loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            raise BadInput("address", self.address, "a numeric address such as 127.0.0.1") from None

    def _check(self) -> None:
        files = {"certificate": self.certificate, "key": self.key}
        checks = [partial(_a_file, name, file) for name, file in files.items() if file]
        together(lambda: self._loopback, *([] if self._exposed() else checks))
        if self._exposed():
            raise Unsafe(
                f"address: {self.address} can be reached from other machines; without --certificate and --key whoever "
                "listens on the way could take over this account. Leave it out, or use an SSH tunnel"
            )
        if bool(self.certificate) != bool(self.key):
            missing = "key" if self.certificate else "certificate"
            raise BadInput(missing, "", "a PEM file too, or neither --certificate nor --key")

    def _exposed(self) -> bool:
        """Whether others would hear what is said: beyond this machine, and without both of the files."""
        with suppress(BadInput):
            return not self._loopback and not (self.certificate and self.key)
        return False


def _a_file(name: str, file: Path) -> None:
    if not file.is_file():
        raise BadInput(name, str(file), "a PEM file that exists")


def with_pinned(variable: str) -> str:
    """The search path of a variable with our folder before it."""
    return os.pathsep.join(filter(None, [str(PINNED), os.environ.get(variable)]))


def serve(server: Server, ready: Callable[[str], None]) -> int:
    """Run the server until it ends; its exit code. ``ready`` is told the address once it can be opened.

    Ctrl-C reaches the server as it reaches this process, and the server answers it; TERM is passed on. A server that
    has not ended ``PATIENCE`` seconds after TERM is killed with all that it has started: it can wait without end for a
    page to close its connection. Raises ``BadInput`` for a port that is taken: whoever listens there would be sent the
    token.
    """
    if _answers(server):
        raise BadInput("port", str(server.port), "one that nothing listens on; choose with --port")
    told: list[float] = []
    with subprocess.Popen(server.command(), env=server.environment()) as process:

        def end(*_: object) -> None:
            told.append(time.monotonic())
            process.terminate()

        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        before_term = signal.signal(signal.SIGTERM, end)
        try:
            while process.poll() is None and not _answers(server):
                _pause(process, told)
            if process.poll() is None:
                ready(server.url)
            while process.poll() is None:
                _pause(process, told)
            return process.returncode
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, before_term)


def _pause(process: subprocess.Popen[bytes], told: list[float]) -> None:
    """Let a moment pass, less if the process ends in it; kill one that was told to end too long ago."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.2)
    if process.poll() is None and told and time.monotonic() - told[0] > PATIENCE:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.Error):
                one.kill()


def _answers(server: Server) -> bool:
    try:
        with socket.create_connection((server.address, server.port), timeout=1):
            return True
    except OSError:
        return False
