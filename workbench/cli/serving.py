"""The command line of a notebook server that only its owner can reach."""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import BadInput, Unsafe


@dataclass(frozen=True)
class Server:
    """Where JupyterLab may listen. ``certificate`` and ``key`` are PEM files, wanted for any address but loopback."""

    root: Path
    address: str = "127.0.0.1"
    port: int = 8888
    certificate: Path | None = None
    key: Path | None = None
    browser: bool = True

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
            "ServerApp.identity_provider_class": "jupyter_server.auth.identity.IdentityProvider",
            "LabApp.news_url": "",
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        if self.certificate and self.key:
            pinned |= {"ServerApp.certfile": str(self.certificate), "ServerApp.keyfile": str(self.key)}
        words = [f"--{name}={value}" for name, value in pinned.items()]
        own = [] if self.browser else ["--no-browser"]
        # A container's only account is often root; the address keeps others out there as everywhere.
        return [sys.executable, "-m", "jupyterlab", *words, *own, "--allow-root"]

    def environment(self) -> dict[str, str]:
        """A fresh token, handed over where other accounts cannot read it: command lines are public on a machine."""
        return {**os.environ, "JUPYTER_TOKEN": secrets.token_urlsafe(32)}

    @property
    def _loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            raise BadInput("address", self.address, "a numeric address such as 127.0.0.1") from None

    def _check(self) -> None:
        if self._loopback:
            return
        if not (self.certificate and self.key):
            raise Unsafe(
                f"address: {self.address} can be reached from other machines; without --certificate and --key whoever "
                "listens on the way could take over this account. Leave it out, or use an SSH tunnel"
            )
        for name, file in (("certificate", self.certificate), ("key", self.key)):
            if not file.is_file():
                raise BadInput(name, str(file), "a PEM file that exists")
