"""Predicted memory and counted work of cases, computed once per content and host and kept in the cache."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core import paths
from workbench.core.errors import Incompatible
from workbench.core.profile import MemoryProfile, Tier
from workbench.records.schema import Quantity
from workbench.records.store import content_key

if TYPE_CHECKING:
    from torch import nn

    from workbench.case import Case
    from workbench.devices.record import Recorder
    from workbench.devices.work import Work
    from workbench.parts.base import TrainingStep

T = TypeVar("T")


def predicted(case: Case, tier: Tier = Tier.PROBE, *, fresh: bool = False) -> MemoryProfile:
    """The profile of one step of ``case``.

    Raises ``Incompatible`` naming ``method`` when the method does not apply, ``prediction`` when its step
    cannot be followed without values.
    """
    reason = case.refusal()
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)

    def make() -> dict[str, Any]:
        from workbench.memory.predict import predict

        case.example()  # a batch that cannot be made is bad input, and known before anything is compiled
        try:
            return _shapes_first(case, lambda build: predict(build, case.step, case.example, tier=tier)).to_dict()
        except (NotImplementedError, RuntimeError) as error:
            first = str(error).strip().split("\n")[0][:200]
            reason = f"its step does not run on fake tensors ({first}); measure it instead"
            raise Incompatible("prediction", case.method_name, reason) from error

    return MemoryProfile.from_dict(_cached(case, f"profile {tier}", make, fresh))


def counted(case: Case, *, fresh: bool = False) -> Work:
    """Floating-point operations and bytes moved by one step of ``case``, counted on fake tensors."""
    from workbench.devices.work import Work

    def make() -> dict[str, Any]:
        from workbench.devices.work import work_of

        return work_of(_traced(case, lambda build: _recorded(case, build))).to_dict()

    return Work.from_dict(_cached(case, "work", make, fresh))


def predicted_step_time(case: Case, *, fresh: bool = False) -> Quantity:
    """Seconds of one step of ``case`` on this host, at the pace it had when it was calibrated.

    The step is recorded on fake tensors; each kind of operator call in it is timed once on this host. Raises
    ``ResourceMissing`` before a calibration, ``Incompatible`` naming ``prediction`` like :func:`predicted`.
    """
    from workbench.devices.host import calibration

    def make() -> dict[str, Any]:
        from workbench.devices.step_time import calibrated_pace, relative_time

        at_calibration = calibrated_pace()  # before any work: without a calibration there is none to do
        units, note = relative_time(_traced(case, lambda build: _recorded(case, build)))
        return {"units": units, "pace": at_calibration, "note": note}

    made = _cached(case, f"step time {(calibration() or {}).get('when')}", make, fresh)
    return Quantity(made["units"] * made["pace"], "predicted", f"{made['note']}; at the pace of the calibration")


def _traced(case: Case, ask: Callable[[Callable[[], nn.Module]], T]) -> T:
    """What ``ask`` finds out on fake tensors; ``Incompatible`` when the step does not run on them."""
    try:
        return _shapes_first(case, ask)
    except (NotImplementedError, RuntimeError) as error:
        first = str(error).strip().split("\n")[0][:200]
        reason = f"its step does not run on fake tensors ({first}); measure it instead"
        raise Incompatible("prediction", case.method_name, reason) from error


def _shapes_first(case: Case, ask: Callable[[Callable[[], nn.Module]], T]) -> T:
    """Ask with a model that has shapes only; a method that computes with the weights gets random ones instead."""
    if not case.method.reads_weights or case.spec.cost_only:
        try:
            return ask(lambda: case.attached(device="meta", weights=False))
        except (Incompatible, NotImplementedError, RuntimeError) as error:
            if "meta" not in str(error).lower() or case.spec.cost_only:
                raise
    return ask(lambda: case.attached(device="cpu", weights=False))


def _recorded(case: Case, build: Callable[[], nn.Module]) -> Recorder:
    """A recorder that has seen the second step of ``case`` on fake tensors."""
    from workbench.devices.record import Recorder
    from workbench.memory.predict import predict

    recorder = Recorder()
    predict(build, lambda model: _Recorded(case.step(model), recorder), case.example, tier=Tier.FAKE)
    return recorder


class _Recorded:
    """A training step whose latest call alone is what the recorder has seen."""

    def __init__(self, step: TrainingStep, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder

    def __call__(self, batches: Any) -> Any:
        self._recorder.reset()
        with self._recorder:
            return self._step(batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def _cached(case: Case, what: str, make: Callable[[], dict[str, Any]], fresh: bool) -> dict[str, Any]:
    key = content_key(case.identity() | {"what": what, "code": _code(), "threads": os.environ.get("OMP_NUM_THREADS")})
    store = paths.cache() / "predictions" / f"{key}.json"
    if not fresh:
        try:
            found: dict[str, Any] = json.loads(store.read_text())
            return found
        except (OSError, ValueError):
            pass  # absent, or torn by a kill: predicting again costs a second
    made = make()
    store.parent.mkdir(parents=True, exist_ok=True)
    temporary = store.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(made))
    temporary.replace(store)
    return made


@functools.cache
def _code() -> str:
    """Content of the code that decides a prediction, so that a change of ours never serves a stale figure."""
    digest = hashlib.sha256()
    for folder in ("memory", "parts", "methods", "models", "tasks", "nn", "devices"):
        for file in sorted((paths.PACKAGE / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
