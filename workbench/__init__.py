"""pintpot's library: predict, enforce and measure the memory of on-device fine-tuning.

>>> import workbench
>>> bench = workbench.open(task="movie-sentiment", model="minilm", device="raspberry-pi-4", budget="256 MiB")
>>> bench.fit()                     # doctest: +SKIP

Names are resolved on first use, so that importing this package loads no heavy library.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from typing import Any

from workbench.core import asleep

# Read by torch's thread pool when torch is loaded. Threads that wait by spinning fight with whatever else runs on
# a small machine: beside one other busy process a step of MiniLM took 5.1 s with spinning and 0.6 s without.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

asleep.sleep()

# At the end of a process Python looks through all that was imported for garbage, which takes a second and frees what
# the system frees at once anyway. Registered first, so that it is called last.
atexit.register(gc.freeze)

__distribution__ = "pintpot"

_WHERE = {
    "open": "workbench.bench",
    "Bench": "workbench.bench",
    "Case": "workbench.case",
    "Session": "workbench.session",
    "Schedule": "workbench.core.schedule",
    "Sizes": "workbench.tasks.base",
    "RunRecord": "workbench.records.schema",
    "RunStore": "workbench.records.store",
    "MemoryProfile": "workbench.core.profile",
    "profile": "workbench.profiles",
}

__all__ = ["__distribution__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


if "IPython" in sys.modules:
    from workbench.report.displays import register

    register()
