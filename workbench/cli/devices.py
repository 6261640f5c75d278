"""The verb `devices`: profiles by name, one in full, and the calibration of this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.printing import note, say, show_json, show_table
from workbench.core.units import format_size

devices_app = typer.Typer(help="Device profiles; `calibrate` measures this machine.", invoke_without_command=True)


@devices_app.callback(invoke_without_command=True)
def devices(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Device profiles; every number says measured, datasheet or assumed."""
    if context.invoked_subcommand:
        return None
    from workbench.devices.model import devices as load

    found = load()
    if as_json:
        return show_json([_device_data(d) for d in found])
    rows = [
        (d.name, d.title, format_size(d.memory.size.value or 0), format_size(d.budget), _speed(d), _watts(d))
        for d in found
    ]
    columns = ("device", "title", "memory", "free for training", "fp32 peak", "active power")
    show_table("", columns, rows, "No devices.")
    return None


def _device_data(device: Any) -> dict[str, Any]:
    numbers = {name: vars(q) for name, q in device.quantities()}
    return {
        "name": device.name,
        "title": device.title,
        "category": device.category,
        "doc": device.doc,
        "budget": device.budget,
        "calibrated": device.calibrated,
        "notes": list(device.notes),
        "numbers": numbers,
    }


def _speed(device: Any) -> str:
    found = device.throughput.get("fp32")
    return f"{found.value / 1e9:.4g} GFLOP/s ({found.kind})" if found and found.value else "not known"


def _watts(device: Any) -> str:
    return f"{device.active.value:g} W ({device.active.kind})" if device.active and device.active.value else "not known"


@devices_app.command()
def show(name: str, as_json: options.AsJson = False) -> None:
    """One device, every number with its kind and source."""
    from workbench.devices.model import get, valued

    device = get(name)
    if as_json:
        return show_json(_device_data(device))
    say(f"{device.title}: {device.doc}")
    rows = [(n, valued(n, q.value), q.kind, q.note) for n, q in device.quantities()]
    show_table("", ("number", "value", "kind", "source"), rows, "Nothing is known of it.")
    for line in device.notes:
        say(line)
    return None


@devices_app.command()
def calibrate(quick: Annotated[bool, typer.Option(help="Ten seconds instead of a minute.")] = False) -> None:
    """Measure this machine and keep it as the device `this-host`."""
    from workbench.devices.calibrate import calibrate as measure
    from workbench.engine.perturbed_steps import perturbed_steps

    note("Calibrating this machine; this takes " + ("ten seconds." if quick else "under a minute."))
    device = measure(quick=quick, more=perturbed_steps(quick))
    show(device.name)
