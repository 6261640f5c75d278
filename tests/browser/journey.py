"""A server as a user starts it, in folders of its own, and the kernels it has started."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "PINTPOT_RUNS": "runs",
    "PINTPOT_REPORTS": "reports",
    "PINTPOT_NOTEBOOKS": "notebooks",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "IPYTHONDIR": "ipython",
}
#: A configuration of the user that opens everything; it must change nothing.
OPENED = {
    "ServerApp": {"ip": "0.0.0.0", "allow_origin": "*", "allow_unauthenticated_access": True},
    "IdentityProvider": {"token": ""},
    "Voila": {"ip": "0.0.0.0", "token": "", "auto_token": False},
    "VoilaConfiguration": {"file_allowlist": [".*"], "show_tracebacks": True, "template": "lab"},
}


def absent(reason):
    """Skip where somebody looks on; in CI nothing of this may be missing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Journey:
    """One server. ``url`` is the address that it printed, ``said`` all of what it printed."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.home, self.process, self.port = home, process, port

    @property
    def said(self) -> str:
        return (self.home / "log").read_text("utf-8", errors="replace")

    @property
    def url(self) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"^Open (\S+)$", self.said, re.M)
            if found:
                return found.group(1)
            time.sleep(0.1)
        raise AssertionError(f"no server came up:\n{self.said}")

    def kernels(self) -> list[int]:
        """Process numbers of the kernels that live."""
        inside = str(self.home)
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "ipykernel_launcher" in words and any(inside in word for word in words):
                found.append(process.pid)
        return found

    def asked(self, expression: str) -> object:
        """What a Python expression is in the kernel, which must be idle."""
        from jupyter_client.blocking import BlockingKernelClient

        (connection,) = (self.home / "runtime").glob("kernel-*.json")
        client = BlockingKernelClient(connection_file=str(connection))
        client.load_connection_file()
        client.start_channels(hb=False)
        try:
            reply = client.execute("", silent=True, user_expressions={"it": f"__import__('json').dumps({expression})"})
            said = client.get_shell_msg(timeout=90)
            while said["parent_header"].get("msg_id") != reply:
                said = client.get_shell_msg(timeout=90)
            text = said["content"]["user_expressions"]["it"]["data"]["text/plain"]
            return json.loads(text.strip("'"))
        finally:
            client.stop_channels()


def tour(home: Path, **values: str) -> Path:
    """A copy of the notebooks in which parameters of the first have other defaults, as a reader would write them."""
    folder = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    first = min(folder.glob("*.ipynb"))
    notebook = json.loads(first.read_text("utf-8"))
    cell = notebook["cells"][1]
    for name, value in values.items():
        lines = [re.sub(rf"^({name}: \S+ = )\S+", lambda m, v=value: m.group(1) + v, line) for line in cell["source"]]
        assert lines != cell["source"], name
        cell["source"] = lines
    first.write_text(json.dumps(notebook), encoding="utf-8")
    return first


@contextmanager
def journey(home: Path, verb: str, *words: str) -> Iterator[Journey]:
    """``pintpot VERB`` until the block ends; afterwards neither it nor a kernel of it is there."""
    if not (home / "notebooks").is_dir():
        tour(home)
    for folder in FOLDERS.values():
        (home / folder).mkdir(exist_ok=True)
    for name in ("jupyter_server_config", "voila"):
        (home / "config" / f"{name}.json").write_text(json.dumps(OPENED), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, **{name: str(home / folder) for name, folder in FOLDERS.items()}}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(home / "runtime")}
    command = [sys.executable, "-m", "workbench.cli", verb, *words, "--no-browser", "--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    under_way = Journey(home, process, port)
    try:
        yield under_way
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)  # six times as long as it is given itself
        finally:
            left = under_way.kernels()
            for number in left:
                psutil.Process(number).kill()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert not left, "a kernel outlived its server"
