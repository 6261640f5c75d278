"""A fault of ours: the trace goes to a log file, the screen gets a sentence and an id."""

from __future__ import annotations

import secrets
import sys
import traceback

from workbench.core import paths
from workbench.core.redaction import redacted


def explain() -> str:
    """Write the present exception to the log folder and return the sentence for the user."""
    error = sys.exc_info()[1]
    name = secrets.token_hex(4)
    folder = paths.cache() / "log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(redacted(traceback.format_exc()))
        where = f"the trace is in {folder / name}.txt"
    except OSError:
        where = "the trace could not be written"
    said = redacted(f"{type(error).__name__}: {error}")
    return f"this is a fault of pintpot ({said}); {where}"
