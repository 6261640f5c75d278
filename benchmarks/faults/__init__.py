"""Fault experiments, one a file: what is broken on purpose, what must hold, and a control that must not hold."""

import os
from pathlib import Path

# Processes started from here import this package before anyone can tell them where it is.
_HERE = str(Path(__file__).resolve().parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (_HERE, os.environ.get("PYTHONPATH", "")) if p)
