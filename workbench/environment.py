"""What a record says about where it was made: an allow-list, so that nothing private can slip in."""

from __future__ import annotations

import datetime
import os
import platform
import secrets
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("torch", "transformers", "peft", "numpy", "safetensors", "bitsandbytes", "pintpot")


def environment() -> dict[str, Any]:
    """Versions and the kind of machine; no user, host name, path or variable."""
    import torch

    found: dict[str, Any] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found |= {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    return found


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def new_id() -> str:
    """A short random run id; sorts by day, names nobody."""
    return f"{datetime.datetime.now(datetime.UTC):%y%m%d}-{secrets.token_hex(4)}"
