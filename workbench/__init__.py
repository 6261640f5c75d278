"""pintpot's library: predict, enforce and measure the memory of on-device fine-tuning.

>>> import workbench
>>> bench = workbench.open(task="movie-sentiment", model="minilm", device="raspberry-pi-4", budget="256 MiB")
>>> bench.fit()                     # doctest: +SKIP

Names are resolved on first use, so that importing this package loads no heavy library.
"""

from __future__ import annotations

import importlib
from typing import Any

__distribution__ = "pintpot"

_WHERE = {
    "open": "workbench.bench",
    "Bench": "workbench.bench",
    "Case": "workbench.case",
    "Session": "workbench.session",
    "Schedule": "workbench.session",
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
