"""Step time on this host: its operators timed on stand-in tensors in the recorded order, plus calibrated call costs.

Every operator is probed where it stands in the step, so that its operands are as near in the caches, and its result
as fresh in memory, as they will be; there is no model and no autograd. What Python, modules, the autograd engine and
the optimizer add per call is calibrated on steps of other, tiny models. Everything is kept in units of the host's
pace (see :mod:`workbench.devices.pace`), so that a timing taken on a busy machine is worth as much as one taken on a
quiet one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from workbench.core.errors import ResourceMissing
from workbench.devices.host import calibration
from workbench.devices.pace import pace
from workbench.devices.record import CLASSES, Recorder, record
from workbench.devices.replay import replay_apart
from workbench.records.schema import Quantity

_UNTIMED = 10e9  #: bytes per second an operator that cannot be run alone is taken to move


def overheads() -> dict[str, float]:
    """Calibrated cost per call of each class in units of the pace.

    Raises ``ResourceMissing`` before a calibration exists.
    """
    stored = _calibrated()
    return {name: seconds / stored["pace"] for name, seconds in stored["costs"].items()}


def calibrated_pace() -> float:
    """The pace of this host when it was calibrated, seconds. Raises ``ResourceMissing`` before that."""
    return float(_calibrated()["pace"])


def _calibrated() -> dict[str, Any]:
    found = (calibration() or {}).get("calls", {})
    stored: dict[str, Any] = found.get(str(torch.get_num_threads())) or next(iter(found.values()), {})
    if not set(CLASSES) <= set(stored.get("costs", ())):  # none yet, or one of an earlier version
        raise ResourceMissing("this-host has not been calibrated yet; run: pintpot devices calibrate")
    return stored


def relative_time(recorder: Recorder, costs: Mapping[str, float] | None = None) -> tuple[float, str]:
    """Time of the recorded step in units of the pace with the present number of threads, and what it rests on.

    ``costs`` per call default to the stored calibration. Operators that could not be run alone are named in the
    note and estimated from the bytes they move, which is an assumption. Raises ``ResourceMissing`` when the step
    does not fit the free memory.
    """
    costs = overheads() if costs is None else costs
    found = replay_apart(recorder.tape.program)
    total = sum(found["phases"].values()) + sum(n * costs[name] for (_, name), n in recorder.counts.items())
    calls = sum(n for (_, name), n in recorder.counts.items() if name in ("view", "forward", "backward", "optimizer"))
    note = f"{calls} operator calls timed in their order on {torch.get_num_threads()} thread(s)"
    if found["failed"]:
        total += found["moved"] / _UNTIMED / pace()
        note += f"; not timed, taken to move {_UNTIMED / 1e9:g} GB/s: {', '.join(found['failed'])}"
    return total, note


def predict(recorder: Recorder, costs: Mapping[str, float] | None = None) -> Quantity:
    """Seconds of the recorded step on this host at its present pace; see :func:`relative_time`."""
    units, note = relative_time(recorder, costs)
    return Quantity(units * pace(), "predicted", note)


def predict_step_time(run: Callable[[], Any], *, warm: int = 1) -> Quantity:
    """Seconds one call of ``run`` takes on this host.

    ``run`` is one whole training step. Call this inside the ``FakeTensorMode`` its tensors belong to, and
    nothing of the model is computed; on real tensors the step runs ``warm + 1`` times.
    """
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    recorder = record(run, warm=warm)
    with unset_fake_temporarily():
        return predict(recorder)
