"""Which commit the code of a result is of, and whether anything of it was changed since."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from workbench.core.paths import checkout


def commit() -> str | None:
    """Short commit of the checkout with ``-dirty`` when tracked files differ; None outside a checkout.

    Running a notebook saves its outputs into it. A notebook whose cells are those of the commit counts as unchanged,
    whatever outputs, counts and marks of a front end it holds.
    """
    root = checkout()
    if root is None or not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD").strip()
        names = _git(root, "diff", "--name-only", "--no-renames", "-z", "HEAD").split("\0")
        return head + ("-dirty" if any(_changed(root, name) for name in names if name) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _changed(root: Path, name: str) -> bool:
    """Whether a file that differs from the commit's differs in more than what running it leaves behind."""
    file = root / name
    if file.suffix != ".ipynb" or not file.is_file():
        return True
    try:
        return _cells(file.read_text("utf-8")) != _cells(_git(root, "show", f"HEAD:{name}"))
    except (ValueError, TypeError, KeyError, AttributeError, subprocess.CalledProcessError):
        return True  # no notebook, or none of the commit's


def _cells(notebook: str) -> list[tuple[Any, ...]]:
    """What a notebook was written as: kind, text and tags of each cell."""
    return [
        (cell["cell_type"], "".join(cell["source"]), cell.get("metadata", {}).get("tags", []))
        for cell in json.loads(notebook)["cells"]
    ]


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8", timeout=10, check=True
    )
    return done.stdout
