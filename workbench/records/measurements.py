"""The ledger of errors: every pair of a predicted and a measured peak, from runs and from `pintpot measure` alike.

Runs hold theirs in the store. A measurement is no run, so it has a line of JSON of its own in a file beside the store;
lines are only ever added, and one that a kill has torn is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from workbench.core import paths
from workbench.core.profile import MemoryProfile, Tier
from workbench.profiles import profile as profile_called
from workbench.records.schema import RunRecord, State
from workbench.records.store import RunStore


def _file() -> Path:
    return paths.runs() / "measurements.jsonl"


def keep(
    identity: str, created: str, case: Mapping[str, Any], predicted: MemoryProfile, measured: MemoryProfile
) -> str:
    """Add a pair under an id of its own, made at ``created`` (UTC, ISO 8601). Returns why it could not be kept, empty
    where it was; nothing is kept, and nothing said, of a pair that need not agree to the byte (no probe, no ledger).

    ``case`` says task, model, method, batch, accumulation and length, and in ``config`` the settings.
    """
    if (predicted.source, measured.source) != (Tier.PROBE, Tier.MEASURED):
        return ""
    pair = {n: _short(p) for n, p in (("predicted", predicted), ("measured", measured))}
    line = json.dumps({"id": identity, "created": created, "case": dict(case), **pair})
    folder = _file().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _file().open("a+b") as file:
            file.write(b"\n" * _torn(file) + line.encode() + b"\n")
    except (FileExistsError, NotADirectoryError):
        return f"{folder} is not a folder"
    except OSError as error:
        return f"{_file()} cannot be written: {error.strerror or error}"
    return ""


def _torn(file: BinaryIO) -> bool:
    """Whether the last line has no end, because a kill or a full disk came between: the next must not lie behind it."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _short(profile: MemoryProfile) -> dict[str, Any]:
    """The peak and what it is made of; layers and moments are left to runs."""
    return replace(profile, timeline=(), by_module={}, saved_by_module={}, by_phase={}).to_dict()


def kept() -> Iterator[RunRecord]:
    """Each kept pair as the record of a run without steps."""
    try:
        lines = _file().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            raw = json.loads(line)
            made: dict[str, Any] = {n: MemoryProfile.from_dict(raw.pop(n)) for n in ("predicted", "measured")}
            yield RunRecord(id=raw["id"], seed=0, state=State.DONE, created=raw["created"], **raw["case"], **made)


def compared(profile: str = "", latest: int = 0) -> list[RunRecord]:
    """Runs and measurements with both peaks, newest first.

    ``profile`` takes the runs of that profile alone, ``latest`` so many of what is left; 0 takes all.
    """
    if profile:
        profile_called(profile)
    found = [r for r in (*RunStore().records(), *kept()) if r.peak_error is not None]
    found = [r for r in found if profile in ("", r.profile)]
    return sorted(found, key=lambda r: r.created, reverse=True)[: latest or None]
