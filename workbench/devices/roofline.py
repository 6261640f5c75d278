"""Step time and energy on a device that is not at hand: counted work against its speeds. Always an extrapolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import ResourceMissing
from workbench.records.schema import Quantity

if TYPE_CHECKING:
    from workbench.devices.model import Device
    from workbench.devices.work import GroupWork, Work

_SLOWER = {"bfloat16": ("bf16", "fp32"), "float16": ("fp16", "fp32"), "float32": ("fp32",), "float64": ("fp32",)}
_INTEGER = ("int8", "fp32")


@dataclass(frozen=True)
class Roofline:
    """Time and energy of one step with where the time goes and what was taken for granted."""

    time: Quantity
    energy: Quantity
    seconds_by_group: dict[str, float]
    assumptions: tuple[str, ...]


def rate(device: Device, dtype: str) -> float:
    """Operations per second for a tensor dtype; a dtype the device has no figure for runs as fp32."""
    for name in _SLOWER.get(dtype, _INTEGER):
        if (found := device.throughput.get(name)) is not None and found.value:
            return found.value * (device.efficiency.value or 1.0)
    raise ResourceMissing(f"{device.name} has no throughput for {dtype}; calibrate it or add the figure to its file")


def bandwidth(device: Device, group: str) -> float:
    measured = device.class_rates.get(group)
    found = measured if measured is not None else device.memory.bandwidth
    if found is None or not found.value:
        raise ResourceMissing(f"{device.name} has no memory bandwidth; calibrate it or add the figure to its file")
    return found.value


def _seconds(device: Device, group: str, work: GroupWork) -> float:
    computing = sum(flops / rate(device, dtype) for dtype, flops in work.flops.items())
    moving = work.bytes / bandwidth(device, group) if work.bytes else 0.0
    calls = work.calls * ((device.overhead.value if device.overhead else 0.0) or 0.0)
    return max(computing, moving) + calls


def roofline(work: Work, device: Device) -> Roofline:
    """Sum over classes of max(operations / throughput, bytes / bandwidth), plus a fixed cost per call.

    The time is seconds, the energy joules (active power of the whole device times that time; its value is
    ``None`` when the device states no power). Raises ``ResourceMissing`` when the device has no speed at all.
    """
    seconds = {name: _seconds(device, name, group) for name, group in work.groups.items()}
    total = sum(seconds.values())
    assumptions = _assumptions(device)
    note = "roofline on counted work; " + "; ".join(assumptions)
    if device.active is None:
        energy = Quantity(None, "extrapolated", f"{device.name} states no active power, so no energy is given")
    else:
        source = f"{device.active.kind} power of {device.active.value:g} W for the whole step"
        energy = Quantity(total * (device.active.value or 0.0), "extrapolated", source)
    return Roofline(Quantity(total, "extrapolated", note), energy, seconds, assumptions)


def _assumptions(device: Device) -> tuple[str, ...]:
    guessed = sorted(name for name, number in device.quantities() if number.kind == "assumed")
    lines = [
        "each class is bound by arithmetic or by memory, never by both at once",
        "every operand comes from main memory",
        f"{device.efficiency.value:.0%} of peak arithmetic is reached ({device.efficiency.kind})",
    ]
    if device.overhead is None:
        lines.append("no cost per operator call is known, so none is added")
    speeds = [n for n in guessed if n.startswith("throughput") or n.endswith("bandwidth")]
    if speeds:
        lines.append(f"assumed, not stated by the maker: {', '.join(speeds)}")
    if not device.calibrated:
        lines.append("nobody has measured a training step on this device for pintpot")
    return tuple(lines)
