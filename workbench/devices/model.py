"""A device and the library of devices: every number says whether it was measured, stated or assumed, and by whom."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from workbench.core.errors import UnknownName
from workbench.core.units import format_size, format_time, parse_size
from workbench.records.schema import Quantity

LIBRARY = Path(__file__).with_name("library")
KINDS = ("measured", "datasheet", "assumed")
HOST = "this-host"


@dataclass(frozen=True)
class MemoryTier:
    """One level of memory. ``size`` is bytes; ``bandwidth`` (read) and ``write`` are bytes per second."""

    name: str
    size: Quantity
    bandwidth: Quantity | None = None
    write: Quantity | None = None


@dataclass(frozen=True)
class Link:
    """The network a device talks over; both directions in bytes per second."""

    name: str
    uplink: Quantity | None = None
    downlink: Quantity | None = None


@dataclass(frozen=True)
class Device:
    """One machine that may have to train.

    ``memory`` is the tier that tensors live in; ``reserved`` is what the system keeps of it, bytes.
    ``throughput`` is peak floating-point operations per second by dtype (``int8``: integer operations), a
    multiply-accumulate counting as two; ``efficiency`` is the share of it that training kernels reach.
    ``overhead`` is seconds per operator call. ``idle`` and ``active`` are watts of the whole device.
    A field that is ``None`` is not known; it is never zero.
    """

    name: str
    title: str
    category: str
    doc: str
    memory: MemoryTier
    reserved: Quantity
    throughput: Mapping[str, Quantity]
    efficiency: Quantity
    overhead: Quantity | None = None
    tiers: tuple[MemoryTier, ...] = ()
    idle: Quantity | None = None
    active: Quantity | None = None
    link: Link | None = None
    calibrated: bool = False
    notes: tuple[str, ...] = ()
    class_rates: Mapping[str, Quantity] = field(default_factory=dict)

    @property
    def budget(self) -> int:
        """Bytes one training step may use when the user names no budget: memory less what the system keeps."""
        return int(self.memory.size.value - self.reserved.value)  # type: ignore[operator]

    @property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """Values worth marking on a budget slider, ascending: fractions of what is free, free, and all of it."""
        free = self.budget
        parts = [(free // n, f"1/{n} of what is free") for n in (16, 8, 4, 2)]
        total = int(self.memory.size.value)  # type: ignore[arg-type]
        marks = [*parts, (free, "all that is free"), (total, "whole memory")]
        return tuple((size, f"{format_size(size)}: {label}") for size, label in marks)

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every number of the device with a dotted name, for tables and for the test that checks sources."""
        for tier in (self.memory, *self.tiers):
            for part in ("size", "bandwidth", "write"):
                if (value := getattr(tier, part)) is not None:
                    yield f"{tier.name}.{part}", value
        for dtype, value in self.throughput.items():
            yield f"throughput.{dtype}", value
        for name, value in self.class_rates.items():
            yield f"class_rates.{name}", value
        for name in ("reserved", "efficiency", "overhead", "idle", "active"):
            if (value := getattr(self, name)) is not None:
                yield name, value
        if self.link:
            for name in ("uplink", "downlink"):
                if (value := getattr(self.link, name)) is not None:
                    yield f"link.{name}", value


def quantity(raw: Mapping[str, Any], where: str) -> Quantity:
    """A number of a device file; raises ``ValueError`` when its kind or its source is missing."""
    kind, source = raw.get("kind"), str(raw.get("source", "")).strip()
    if kind not in KINDS or not source or set(raw) != {"value", "kind", "source"}:
        raise ValueError(f"{where}: needs value, source and a kind among {', '.join(KINDS)}")
    value = raw["value"]
    return Quantity(parse_size(value, where) if isinstance(value, str) else float(value), kind, source)


def _optional(raw: Mapping[str, Any], name: str, where: str) -> Quantity | None:
    return quantity(raw[name], f"{where}.{name}") if name in raw else None


def _tier(raw: Mapping[str, Any], where: str) -> MemoryTier:
    return MemoryTier(
        raw["name"],
        quantity(raw["size"], f"{where}.size"),
        _optional(raw, "bandwidth", where),
        _optional(raw, "write", where),
    )


def parse(raw: Mapping[str, Any], name: str) -> Device:
    """A device from the plain data of its file; ``ValueError`` names what is missing."""
    known = {"title", "category", "doc", "memory", "reserved", "throughput", "efficiency", "overhead"}
    known |= {"tiers", "power", "link", "calibrated", "notes", "class_rates"}
    if unknown := set(raw) - known:
        raise ValueError(f"{name}: unknown field {sorted(unknown)[0]}")
    power, link = raw.get("power", {}), raw.get("link")
    return Device(
        name=name,
        title=raw["title"],
        category=raw["category"],
        doc=raw["doc"],
        memory=_tier(raw["memory"], f"{name}.memory"),
        reserved=quantity(raw["reserved"], f"{name}.reserved"),
        throughput={k: quantity(v, f"{name}.throughput.{k}") for k, v in raw["throughput"].items()},
        efficiency=quantity(raw["efficiency"], f"{name}.efficiency"),
        overhead=_optional(raw, "overhead", name),
        tiers=tuple(_tier(t, f"{name}.tiers") for t in raw.get("tiers", ())),
        idle=_optional(power, "idle", f"{name}.power"),
        active=_optional(power, "active", f"{name}.power"),
        link=link
        and Link(link["name"], _optional(link, "uplink", f"{name}.link"), _optional(link, "downlink", f"{name}.link")),
        calibrated=bool(raw.get("calibrated", False)),
        notes=tuple(raw.get("notes", ())),
        class_rates={k: quantity(v, f"{name}.class_rates.{k}") for k, v in raw.get("class_rates", {}).items()},
    )


@cache
def _shipped() -> Mapping[str, Device]:
    """The shipped devices, by name; the files of the library folder are the list."""
    found = {}
    for path in sorted(LIBRARY.glob("*.toml")):
        found[path.stem] = parse(tomllib.loads(path.read_text(encoding="utf-8")), path.stem)
    return found


def _library() -> Mapping[str, Device]:
    """The shipped devices and those of files of the user's own."""
    from workbench.devices.own import own

    return {**own(), **_shipped()}


def shipped() -> list[str]:
    """Names that no file of the user's own may take."""
    return sorted([*_shipped(), HOST])


def names() -> list[str]:
    """Names of all devices; ``this-host`` is always one of them, calibrated or not."""
    return sorted([*_library(), HOST])


def devices() -> list[Device]:
    """Every device that can be used now: the library, and this host with what is known of it so far."""
    from workbench.devices.host import host

    return sorted([*_library().values(), host()], key=lambda d: (d.memory.size.value or 0, d.name))


def get(name: str) -> Device:
    """A device by name.

    Raises ``UnknownName`` with the nearest names. ``this-host`` can always be had; before it is calibrated
    its speeds are absent, so memory is judged and times are not given.
    """
    if name == HOST:
        from workbench.devices.host import host

        return host()
    if name not in _library():
        raise UnknownName("device", name, names())
    return _library()[name]


def valued(name: str, value: float | None) -> str:
    """A device's number with the unit that its name implies."""
    part = name.rpartition(".")[2]
    if value is None:
        return "not known"
    if part in ("size", "reserved"):
        return format_size(value)
    if part in ("bandwidth", "write", "uplink", "downlink") or name.startswith("class_rates."):
        return f"{value / 1e9:.4g} GB/s" if value >= 1e8 else f"{value / 1e6:.4g} MB/s"
    if name.startswith("throughput."):
        return f"{value / 1e9:.4g} GFLOP/s"
    if part == "overhead":
        return f"{format_time(value)} per call"
    return f"{value:g} W" if part in ("idle", "active") else f"{value:g}"
