"""Does it fit? Every method on a device under a budget: fits, fits if something changes, or cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible, ResourceMissing
from workbench.core.profile import Category, Tier
from workbench.core.units import format_size
from workbench.plan.change import Change
from workbench.plan.ways import Patience, ways_out
from workbench.records.schema import Quantity

if TYPE_CHECKING:
    from workbench.devices.model import Device
    from workbench.plan.device_need import DeviceNeed

Fits = Literal["fits", "fits if", "cannot", "does not fit", "not predicted", "does not apply"]


@dataclass(frozen=True)
class Verdict:
    """Whether one method fits. ``reason`` says what binds, ``source`` what ``peak`` (bytes) rests on.

    ``changes`` are ways out, cheapest first. "cannot" says that none was found, "does not fit" that not all have
    been looked for. ``need`` is what a device that runs the step without torch needs, and ``note`` says so beside the
    budget: the verdict itself is on this program's step, which emulates that one. ``layer`` is the module at work at
    the peak; absent values are ``None`` with a reason.
    """

    method: str
    family: str
    fits: Fits
    reason: str
    source: str = ""
    peak: int | None = None
    by_category: Mapping[Category, int] = field(default_factory=dict)
    layer: str = ""
    step_time: Quantity | None = None
    step_energy: Quantity | None = None
    changes: tuple[Change, ...] = ()
    need: DeviceNeed | None = None
    note: str = ""

    @property
    def binding(self) -> str:
        """The largest category at the peak: the one to attack first."""
        return str(max(self.by_category, key=lambda c: self.by_category[c])) if self.by_category else ""

    @property
    def there(self) -> Change | None:
        """What it takes to need the device's bytes and not those of its emulation here, whatever the budget."""
        return (
            Change("run on the device itself, one example a step", None, self.need.own, "planned")
            if self.need
            else None
        )

    @property
    def summary(self) -> str:
        """Its peak with what to change, or why it has none, in a few words."""
        said = self.reason
        if self.fits != "fits" and self.changes:
            said = "; ".join([f"peak {format_size(self.peak or 0)}", *(c.words for c in self.changes)])
        return f"{said}; {self.note}" if self.note else said

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``; sizes are bytes, times seconds, energies joules."""
        return {
            "method": self.method,
            "family": self.family,
            "fits": self.fits,
            "reason": self.reason,
            "peak": self.peak,
            "source": self.source,
            "by_category": dict(self.by_category),
            "binding_category": self.binding or None,
            "binding_module": self.layer,
            "step_time": vars(self.step_time) if self.step_time else None,
            "step_energy": vars(self.step_energy) if self.step_energy else None,
            "on_device": vars(self.need) | {"note": self.note} if self.need else None,
            "changes": [
                {"change": c.sentence, "peak": c.peak, "source": c.source, "options": c.options} for c in self.changes
            ],
        }


def verdict(
    case_names: tuple[str, str], where: tuple[str, str, str], split: Mapping[Category, int], budget: int, source: str
) -> Verdict:
    """The verdict on (method, family) whose peak of ``split`` is reached at ``where`` (operator, module, phase)."""
    operator, module, phase = where
    peak, top = sum(split.values()), max(split, key=lambda c: split[c])
    at = f"{operator} in {module}" if module else operator
    reason = (
        f"peak {format_size(peak)} of {format_size(budget)}"
        if peak <= budget
        else f"{format_size(peak - budget)} over: {format_size(split[top])} of the peak is {top}, "
        f"reached in {phase} at {at}"
    )
    fits: Fits = "fits" if peak <= budget else "does not fit"
    return Verdict(*case_names, fits, reason, source, peak, split, module)


def unanswered(error: Incompatible) -> Fits:
    """What to call a method that has no prediction."""
    return "does not apply" if error.field == "method" else "not predicted"


def with_changes(found: Verdict, case: Case, budget: int, tier: Tier | None, patience: Patience) -> Verdict:
    """The verdict on a case that passes the budget, with ways out as far as ``patience`` reaches.

    What was only fitted before gives way to what is predicted, and stands where the patience ends before that.
    """
    changes = tuple(ways_out(case, budget, tier, patience=patience))
    kept = tuple(c for c in found.changes if c.source == "planned")  # of the device itself: no prediction is about it
    if changes:
        return replace(found, fits="fits if", changes=(*kept, *changes))
    if patience.ran_out:
        return found if found.changes else replace(found, reason=f"{found.reason}; {patience.sentence}")
    return replace(found, fits="fits if" if kept else "cannot", changes=kept)


def on_device(case: Case, device: Device) -> tuple[Quantity, Quantity]:
    """Seconds and joules of one step on a device by roofline, extrapolated; absent with the reason where unknown."""
    from workbench.devices.roofline import roofline
    from workbench.predictions import counted

    try:
        line = roofline(counted(case), device)
    except (ResourceMissing, Incompatible) as error:
        absent = Quantity(None, "extrapolated", str(error))
        return absent, absent
    return line.time, line.energy


def timed_here(device: Device) -> bool:
    """Whether step times can be predicted from operators timed on this host rather than by roofline."""
    from workbench.devices.model import HOST

    return device.name == HOST and device.calibrated


def cost(case: Case, device: Device) -> tuple[Quantity, Quantity]:
    """Step time and energy: predicted from timed operators on this host, else by roofline."""
    from workbench.predictions import predicted_step_time

    if not timed_here(device):
        return on_device(case, device)
    try:
        time = predicted_step_time(case)
    except (ResourceMissing, Incompatible) as error:
        time = Quantity(None, "predicted", str(error))
    if time.value is None or device.active is None or device.active.value is None:
        return time, Quantity(None, "predicted", f"{device.name} states no active power, so no energy is given")
    power = f"{device.active.kind} power of {device.active.value:g} W for the whole step"
    return time, Quantity(time.value * device.active.value, "predicted", power)


def cases_for(
    task: str,
    model: str,
    methods: Sequence[str],
    *,
    batch: int | None = None,
    length: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Case]:
    """One case per method; every name is checked before anything is predicted. Empty ``methods``: all."""
    from workbench.methods.base import methods as registry
    from workbench.tasks.base import tasks

    chosen = list(methods) or registry.names()
    if len(set(chosen)) != len(chosen):
        raise BadInput("methods", chosen, "each method once")
    size = batch if batch is not None else tasks.get(task).default_batch
    return [Case(task, model, name, size, length, settings=(settings or {}).get(name, {})) for name in chosen]
