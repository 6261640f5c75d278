"""The kernel of a report: as the interpreter's own, but it dies with whoever runs it and takes no more than it may.

Started by :mod:`workbench.report.runner` as ``python -m workbench.report.kernel -f CONNECTION_FILE``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_REGISTER = "__import__('workbench.report.displays', fromlist=['register']).register()"
MEMORY = "PINTPOT_KERNEL_MEMORY"  #: bytes of private writable memory that the kernel may map; unlimited if not set


def die_with_parent(number: signal.Signals) -> None:
    """Ask Linux to send ``number`` to this process when its parent ends; elsewhere the kernel's own poller must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number))


def _limited() -> None:
    """Cap data, not address space: predictions point into address space that is never written."""
    size = int(os.environ.get(MEMORY, "0"))
    if size and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Become an IPython kernel; the folder it is started in is no place to import from before it says so."""
    die_with_parent(signal.SIGKILL)
    _limited()
    if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 (compared with what -m put there)
        del sys.path[0]
    from ipykernel import kernelapp

    # The package was imported before IPython was there, so it could not tell it yet how answers are shown.
    kernelapp.launch_new_instance(exec_lines=[_REGISTER])


if __name__ == "__main__":
    main()
