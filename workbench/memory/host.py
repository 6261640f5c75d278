"""What kernels choose by beside their operands, hence bytes and pace of a step: threads, instruction set, mkldnn."""

from __future__ import annotations

import functools
import os
import platform
import sys
from pathlib import Path
from typing import Any

from workbench.core import paths
from workbench.core.answers import read_file, write_file
from workbench.core.versions import installed_version
from workbench.records.content import content_key

#: Beginnings of the variables by which torch and the libraries below it choose when they are loaded.
_HEARD = ("OMP_", "GOMP_", "KMP_", "MKL_", "ATEN_", "DNNL_", "ONEDNN_", "LD_PRELOAD")
_CHANGING = ("cpu MHz", "bogomips", "BogoMIPS")  #: lines about a processor that are others at the next look


def host() -> dict[str, Any]:
    """What is in force in this process. Where torch is not loaded, what it said here when it was last loaded untouched.

    So an answer of the cache loads no torch, but for the first time that environment and processor are as they are.
    """
    return in_force() if "torch" in sys.modules else _at_first(_record())


def in_force() -> dict[str, Any]:
    """The same, asked of torch."""
    import torch

    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
        "threads": torch.get_num_threads(),
    }


def threads_in_force() -> dict[str, str]:
    """Variables that make a process started from this one use as many threads."""
    if "torch" not in sys.modules:
        return {}
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(in_force()["threads"]))


@functools.cache
def _at_first(record: Path) -> dict[str, Any]:
    """What torch chooses by itself: nobody can have told it otherwise before it is loaded here."""
    found = read_file(record)
    if found is None:
        found = in_force()
        write_file(record, found)
    return found


def _record() -> Path:
    """The file for all that torch's choice follows from."""
    asked = {
        "torch": installed_version("torch"),
        "environment": {name: value for name, value in os.environ.items() if name.startswith(_HEARD)},
        "processors": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
    }
    return paths.cache() / "hosts" / f"{content_key(asked)}.json"


@functools.cache
def _processor() -> list[str]:
    """The processor's own words, cores and instruction sets among them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return [platform.node(), platform.machine(), platform.processor()]
    return [line for line in lines if not line.startswith(_CHANGING)]
