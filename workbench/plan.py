"""Does it fit? Every method on a device under a budget: fits, fits if something changes, or cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible, ResourceMissing
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.units import format_size
from workbench.records.schema import Quantity
from workbench.ways import Change, ways_out

if TYPE_CHECKING:
    from workbench.devices.model import Device

Fits = Literal["fits", "fits if", "cannot", "not predicted", "does not apply"]


@dataclass(frozen=True)
class Verdict:
    """Whether one method fits. ``reason`` says what binds; ``changes`` are ways out, cheapest first."""

    method: str
    family: str
    fits: Fits
    reason: str
    case: Case | None = None
    predicted: MemoryProfile | None = None
    step_time: Quantity | None = None
    step_energy: Quantity | None = None
    changes: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``; sizes are bytes, times seconds, energies joules."""
        profile = self.predicted
        return {
            "method": self.method,
            "family": self.family,
            "fits": self.fits,
            "reason": self.reason,
            "peak": profile.peak if profile else None,
            "source": profile.source if profile else None,
            "by_category": dict(profile.by_category) if profile else {},
            "binding_category": profile.binding_category if profile else None,
            "binding_module": profile.module if profile else None,
            "step_time": vars(self.step_time) if self.step_time else None,
            "step_energy": vars(self.step_energy) if self.step_energy else None,
            "changes": [{"change": c.sentence, "peak": c.peak} for c in self.changes],
        }


def fit(
    cases: Iterable[Case],
    device: Device,
    budget: int,
    *,
    tier: Tier | None = None,
    time: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Verdict]:
    """A verdict for each case in turn; ``budget`` in bytes. Predictions are cached, so a second call is quick."""
    from workbench.ahead import second_process

    cases = list(cases)
    with second_process(cases, tier):
        for case in cases:
            if progress is not None:
                progress(case.method_name)
            yield judge(case, device, budget, tier=tier, time=time)


def judge(case: Case, device: Device, budget: int, *, tier: Tier | None = None, time: bool = True) -> Verdict:
    """One verdict. A method that cannot serve the model is a verdict too, with the reason."""
    name, family = case.method_name, case.method.card.family
    try:
        profile = case.predict(tier)
    except Incompatible as error:
        answer: Fits = "not predicted" if error.field == "prediction" else "does not apply"
        return Verdict(name, family, answer, error.reason)
    seconds, joules = cost(case, device) if time else (None, None)
    verdict = Verdict(name, family, "fits", "", case, profile, seconds, joules)
    if profile.peak <= budget:
        return replace(verdict, reason=f"peak {format_size(profile.peak)} of {format_size(budget)}")
    reason = binding(profile, budget)
    changes = tuple(ways_out(case, budget, tier, profile=profile))
    return replace(verdict, fits="fits if" if changes else "cannot", reason=reason, changes=changes)


def binding(profile: MemoryProfile, budget: int) -> str:
    """What stands in the way, in one sentence."""
    top = profile.binding_category
    where = f" in {profile.module}" if profile.module else ""
    return (
        f"{format_size(profile.peak - budget)} over: {format_size(profile.by_category[top])} of the peak is {top}, "
        f"reached in {profile.phase} at {profile.operator}{where}"
    )


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


def cost(case: Case, device: Device) -> tuple[Quantity, Quantity]:
    """Step time and energy: predicted from timed operators on this host, else by roofline."""
    from workbench.devices.model import HOST
    from workbench.predictions import predicted_step_time

    if device.name != HOST or not device.calibrated:
        return on_device(case, device)
    try:
        time = predicted_step_time(case)
    except (ResourceMissing, Incompatible) as error:
        time = Quantity(None, "predicted", str(error))
    if time.value is None or device.active is None or device.active.value is None:
        return time, Quantity(None, "predicted", f"{device.name} states no active power, so no energy is given")
    return time, Quantity(
        time.value * device.active.value, "predicted", f"{device.active.value:g} W for the whole step"
    )


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
