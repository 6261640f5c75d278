"""A real PostgreSQL server on loopback, from the distribution's packages, for as long as a context lasts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.frame import Absent

USER = "postgres"


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a fresh database. Raises ``Absent`` without the server's programs or the driver."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        raise Absent("PostgreSQL is not installed (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        raise Absent("the PostgreSQL driver is not installed (pip install 'pintpot[postgres]')")
    home = Path(tempfile.mkdtemp(prefix="pintpot-server-"))
    try:
        if os.getuid() == 0:
            shutil.chown(home, USER)
        yield from _serving(programs[-1].parent, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _serving(programs: Path, home: Path) -> Iterator[str]:
    def run(*command: str) -> None:
        words = ["runuser", "-u", USER, "--", *command] if os.getuid() == 0 else list(command)
        subprocess.run(words, check=True, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, log = str(home / "data"), str(home / "log")
    run(str(programs / "initdb"), "-D", data, "-U", "pintpot", "--auth=trust", "-E", "UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
    run(str(programs / "pg_ctl"), "-D", data, "-l", log, "-w", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://pintpot@127.0.0.1:{port}/postgres"
    finally:
        run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
