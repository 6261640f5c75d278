"""Where things live, in a checkout or in an installed wheel. Each folder can be moved by a variable."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def _from_environment(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else default


def cache() -> Path:
    """Per-user cache of assets, compiled kernels and workspace probes (``PINTPOT_CACHE``)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return _from_environment("PINTPOT_CACHE", base / "pintpot")


def checkout() -> Path | None:
    """The source checkout this package is imported from, if it is one."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def reports() -> Path:
    """Folder that rendered reports go to (``PINTPOT_REPORTS``): the checkout's, else ``./reports``."""
    return _from_environment("PINTPOT_REPORTS", (checkout() or Path.cwd()) / "reports")


def runs() -> Path:
    """Folder of the run store (``PINTPOT_RUNS``): ``runs/`` of the checkout, else ``./runs``."""
    return _from_environment("PINTPOT_RUNS", (checkout() or Path.cwd()) / "runs")


def store() -> str:
    """URL of the database that holds the runs (``PINTPOT_STORE``); empty for the file in :func:`runs`."""
    return os.environ.get("PINTPOT_STORE", "")


def notebooks() -> Path:
    """Folder of the parameterised notebooks."""
    root = checkout()
    return _from_environment("PINTPOT_NOTEBOOKS", root / "notebooks" if root else PACKAGE / "_notebooks")


def data() -> Path:
    """Folder of the asset catalogue and the map of papers."""
    root = checkout()
    return root / "data" if root else PACKAGE / "_data"
