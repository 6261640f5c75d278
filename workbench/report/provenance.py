"""Where a result comes from, as an allow-list: versions, commit, machine class, seeds, hashes. Nothing personal."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from workbench.core.units import format_size
from workbench.records.schema import RunRecord
from workbench.report.checkout import commit

PACKAGES = ("pintpot", "torch", "transformers", "peft", "numpy", "scikit-learn", "optuna", "bitsandbytes")


def provenance(
    params: Mapping[str, Any] | None = None, records: Sequence[RunRecord] = (), seeds: Sequence[int] = ()
) -> dict[str, Any]:
    """The facts a report shows. Never the user, the host's name, an absolute path or an environment variable."""
    facts: dict[str, Any] = {
        "versions": ", ".join(f"{name} {v}" for name in PACKAGES if (v := _version(name))),
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory": format_size(_memory()) if _memory() else None,
        "threads": os.environ.get("OMP_NUM_THREADS", "").strip()[:4] or "default",
        "seeds": sorted({r.seed for r in records} | set(seeds)) or None,
        "parameters": params_hash(params) if params is not None else None,
        "data": data_hashes(records) or None,
        "runs": list(dict.fromkeys(r.id for r in records)) or None,
    }
    return {k: v for k, v in facts.items() if v is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The model of the processor as the system names it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()[:80]
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def params_hash(params: Mapping[str, Any]) -> str:
    """Twelve hex digits of the sorted JSON of the parameters."""
    text = json.dumps(dict(params), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def data_hashes(records: Sequence[RunRecord]) -> list[str]:
    """``task: hash`` of each data set the runs used."""
    found = {f"{r.task}: {r.data['hash']}" for r in records if r.data.get("hash")}
    return sorted(str(item)[:120] for item in found)
