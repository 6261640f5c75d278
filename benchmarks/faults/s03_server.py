"""S3: probes of the notebook server as `pintpot lab` starts it, and of settings it must refuse to start with."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from faults.frame import Absent, Experiment, Figures, Setting

PATIENCE = 60.0  #: seconds until a server must answer
#: (method, path, headers, body). Every one must be refused; without a token, with a wrong one, from foreign pages.
KERNEL = json.dumps({"name": "python3"})
_PATHS = ("/api/contents", "/api/kernels", "/api/sessions", "/api/terminals", "/api/config/x", "/lab", "/tree",
          "/files/x", "/nbconvert/html/x.ipynb", "/api/kernelspecs", "/lab/api/settings",
          "/api/shutdown", "/view/x")  # fmt: skip
PROBES: tuple[tuple[str, str, Mapping[str, str], str], ...] = (
    *(("GET", path, {}, "") for path in _PATHS),
    *(("GET", f"/api/contents?token={token}", {}, "") for token in ("", "wrong", "null", "undefined")),
    *(("GET", "/api/contents", {"Authorization": f"token {t}"}, "") for t in ("", "wrong")),
    ("GET", "/api/contents", {"Host": "evil.example"}, ""),
    ("GET", "/api/contents", {"Host": "evil.example", "Origin": "http://evil.example"}, ""),
    ("POST", "/api/kernels", {}, KERNEL),
    ("POST", "/api/kernels", {"Origin": "http://evil.example"}, KERNEL),
    ("POST", "/api/kernels", {"Cookie": "_xsrf=1", "X-XSRFToken": "1"}, KERNEL),
    ("POST", "/api/terminals", {"Cookie": "_xsrf=1", "X-XSRFToken": "1"}, "{}"),
    ("GET", "/files/..%2f..%2f..%2fetc%2fpasswd", {}, ""),
    ("GET", "/api/contents/..%2f..%2fetc%2fpasswd", {}, ""),
    ("POST", "/api/shutdown", {"Cookie": "_xsrf=1", "X-XSRFToken": "1"}, ""),  # last: a server that obeys is gone
)
#: With the token: what even its owner's pages must not reach.
OWNER = (
    ("GET", "/api/contents/..%2f..%2f..%2fetc%2fpasswd"),
    ("GET", "/files/..%2f..%2f..%2fetc%2fpasswd"),
    ("GET", "/api/terminals"),
)
UNSAFE = (
    ("--address", "0.0.0.0"),
    ("--address", "::"),
    ("--address", "192.0.2.1", "--certificate", "x.pem"),
    ("--address", "192.0.2.1", "--key", "x.pem"),
)


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _asked(port: int, method: str, path: str, headers: Mapping[str, str], body: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body or None, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def _probed(command: list[str], environment: dict[str, str], port: int) -> Figures:
    token = environment.get("JUPYTER_TOKEN", "")
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    passed = []
    try:
        _until_it_answers(server, port)
        for method, path, headers, body in PROBES:
            status = _asked(port, method, path, headers, body)
            # To be sent to the log-in page is to be refused.
            if status < 300:
                passed.append(f"{method} {path}")
        owner = {"Authorization": f"token {token}"}
        lets_owner_in = not token or _asked(port, "GET", "/api/contents", owner, "") == 200
        passed += [f"owner {path}" for method, path in OWNER if token and _asked(port, method, path, owner, "") < 300]
        public = token and token in " ".join(Path(f"/proc/{server.pid}/cmdline").read_text().split("\0"))
    finally:
        server.kill()
        server.wait()
    for name in passed[:8]:
        print(f"  passed: {name}")
    return {
        "probes": len(PROBES) + len(OWNER) * bool(token),
        "passed": len(passed),
        "owner let in": bool(lets_owner_in),
        "token in the command line": bool(public),
    }


def _until_it_answers(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            _asked(port, "GET", "/api", {}, "")
            return
        except OSError:
            time.sleep(0.2)
    raise Absent("no notebook server came up on this machine")


def ours(setting: Setting) -> Figures:
    from workbench.cli.serving import Server

    if sys.platform != "linux":
        raise Absent("what is public of a process is read from /proc")
    port = _port()
    server = Server(setting.folder, port=port, browser=False)
    # A configuration of the user that opens everything must change nothing.
    opened = {"allow_origin": "*", "disable_check_xsrf": True, "ip": "0.0.0.0", "terminals_enabled": True,
              "allow_unauthenticated_access": True, "allow_remote_access": True}  # fmt: skip
    (setting.folder / "config").mkdir()
    configured = json.dumps({"ServerApp": opened, "IdentityProvider": {"token": ""}})
    (setting.folder / "config" / "jupyter_server_config.json").write_text(configured)
    environment = server.environment() | {"JUPYTER_CONFIG_DIR": str(setting.folder / "config")}
    return _probed(server.command(), environment, port) | _refusals()


def _refusals() -> Figures:
    """Starting with unsafe settings must end with exit code 3 and a sentence."""
    command = [sys.executable, "-m", "workbench.cli", "lab", "--no-browser"]
    ends = [subprocess.run([*command, *words], capture_output=True, text=True, timeout=60) for words in UNSAFE]
    return {"unsafe settings": len(UNSAFE), "refused": sum(e.returncode == 3 and "pintpot:" in e.stderr for e in ends)}


def open_lab(setting: Setting) -> Figures:
    """JupyterLab with an empty token and every check off, as a container's README would have it."""
    port = _port()
    words = ["--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password=", "--allow-root",
             "--no-browser", "--ServerApp.disable_check_xsrf=True", "--ServerApp.allow_origin=*",
             "--ServerApp.allow_remote_access=True", f"--ServerApp.root_dir={setting.folder}"]  # fmt: skip
    found = _probed([sys.executable, "-m", "jupyterlab", *words], {**os.environ, "JUPYTER_TOKEN": ""}, port)
    return found | {"unsafe settings": len(UNSAFE), "refused": 0}


EXPERIMENT = Experiment(
    name="S3",
    test="probes of the notebook server without its token, from foreign pages, out of its root; unsafe settings",
    target="none passes, though the user's configuration opens everything; unsafe settings end with exit code 3",
    unit="server (all probes)",
    short=1,
    long=1,
    ours=ours,
    met=lambda f: f["probes"] >= 30 and not f["passed"] and f["owner let in"] and not f["token in the command line"]
    and f["refused"] == f["unsafe settings"],
    controls={"JupyterLab with an empty token and checks off": open_lab},
)  # fmt: skip
