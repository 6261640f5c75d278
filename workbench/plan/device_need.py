"""What a device that runs a step without torch needs, beside what the step needs here, where it is emulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.units import format_size
from workbench.keys import Kind

if TYPE_CHECKING:
    from workbench.case import Case


@dataclass(frozen=True)
class DeviceNeed:
    """SRAM of one planned step on one example, bytes: of the method as it is set, and of the head alone."""

    own: int
    head: int

    def sentence(self, budget: int) -> str:
        """The need beside ``budget`` bytes. Below the head's own need the shortfall is named."""
        if self.head > budget:
            return (
                f"on the device itself, one example a step, the head alone over the int8 forward pass needs "
                f"{format_size(self.head)} of SRAM, {format_size(self.head - budget)} more than the budget"
            )
        over = self.own - budget
        said = f"{format_size(over)} more than the budget" if over > 0 else "which is within the budget"
        return (
            f"on the device itself, one example a step, it needs {format_size(self.own)} of SRAM, {said}; the head "
            f"alone {format_size(self.head)}; what is larger here is the emulation on this host"
        )


def device_need(case: Case) -> DeviceNeed | None:
    """The need of ``case``, kept like a prediction; ``None`` where the step is torch's own."""
    from workbench.predictions import kept

    if not case.method.least:
        return None

    def planned() -> dict[str, Any]:
        return {"own": case.device_bytes(), "head": case.device_bytes(least=True)}

    found = kept(case, Kind("device need", ("plan/device_need.py",)), planned)
    return None if None in found.values() else DeviceNeed(**found)
