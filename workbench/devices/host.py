"""This host as a device: its memory is read from the system, its speed from the stored calibration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.core import paths
from workbench.devices.model import HOST, Device, MemoryTier, parse
from workbench.records.schema import Quantity

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def calibration_file() -> Path:
    """Where the calibration of this host is kept."""
    return paths.cache() / "devices" / f"{HOST}.json"


def calibration() -> dict[str, Any] | None:
    """The stored calibration, or ``None`` when there is none or it cannot be read."""
    try:
        stored = json.loads(calibration_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and "device" in stored else None


def memory_size() -> Quantity:
    """Bytes of memory this process can have: the system's, or the control group's limit when that is less."""
    import psutil

    total, source = psutil.virtual_memory().total, "operating system"
    for name in _LIMITS:
        try:
            limit = int(Path(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if limit < total:
            total, source = limit, "control group limit"
    return Quantity(total, "measured", source)


def memory_reserved() -> Quantity:
    """Bytes that other programs and the system hold now."""
    import psutil

    memory = psutil.virtual_memory()
    return Quantity(memory.total - memory.available, "measured", "operating system, at this moment")


def host() -> Device:
    """This host; without a calibration its speeds are absent and ``calibrated`` is false."""
    size, reserved = memory_size(), memory_reserved()
    stored = calibration()
    if stored is not None:
        raw = dict(stored["device"])
        raw["reserved"] = as_plain(_within(reserved, size))
        raw["memory"] = {**raw["memory"], "size": as_plain(size)}
        return parse(raw, HOST)
    return Device(
        name=HOST,
        title="This host, not calibrated",
        category="host",
        doc="Speeds are not known yet; pintpot devices calibrate measures them in under a minute.",
        memory=MemoryTier("memory", size),
        reserved=_within(reserved, size),
        throughput={},
        efficiency=Quantity(1.0, "assumed", "nothing measured yet"),
        notes=("not calibrated",),
    )


def _within(reserved: Quantity, size: Quantity) -> Quantity:
    """What is reserved can never be more than nine tenths of a control group's share."""
    most = 0.9 * (size.value or 0)
    if (reserved.value or 0) <= most:
        return reserved
    return Quantity(most, "assumed", "the system holds more than this control group's limit")


def as_plain(number: Quantity) -> dict[str, Any]:
    """A number as a device file writes it."""
    return {"value": number.value, "kind": number.kind, "source": number.note}
