"""Predicted memory and counted work of cases: one trace answers both, once per content and host, kept in the cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core.alone import alone
from workbench.core.answers import answer_file, read_answer, write_answer
from workbench.core.collection import uncollected
from workbench.core.errors import Incompatible, PintpotError, ResourceMissing
from workbench.core.profile import MemoryProfile, Tier
from workbench.keys import COUNTING, Kind, key_of, try_the_probe
from workbench.records.schema import Quantity

if TYPE_CHECKING:
    from torch import nn

    from workbench.case import Case
    from workbench.devices.record import Recorder
    from workbench.devices.work import Work
    from workbench.memory.events import EventLog
    from workbench.parts.base import TrainingStep

_RECENT = 3  #: traces kept in this process; a trace of a large model takes a few megabytes


@dataclass(frozen=True)
class Trace:
    """All that one run on fake tensors tells: the profile, the log it was replayed from, the operator calls."""

    profile: MemoryProfile
    log: EventLog
    recorder: Recorder


Asked = TypeVar("Asked")

_recent: OrderedDict[str, Trace] = OrderedDict()
_refused: dict[str, dict[str, Any]] = {}  #: refusals that need not be the same in another process

_WORK, _FLOPS = Kind("work", COUNTING), Kind("flops by phase", COUNTING)


def _profile(tier: Tier) -> Kind:
    return Kind("profile", (), tier)


def _trace(tier: Tier) -> Kind:
    return Kind("trace", COUNTING, tier)


def predicted(case: Case, tier: Tier = Tier.PROBE, *, fresh: bool = False) -> MemoryProfile:
    """The profile of one step of ``case``.

    Raises ``Incompatible`` naming ``method`` when the method does not apply, ``length`` when it leaves no positions for
    that many tokens, ``prediction`` when its step cannot be followed without values.
    """
    if (refused := case.refused()) is not None:
        raise refused
    made = kept(case, _profile(tier), lambda: traced(case, tier).profile.to_dict(), fresh=fresh)
    return MemoryProfile.from_dict(made)


def counted(case: Case, *, fresh: bool = False) -> Work:
    """Floating-point operations and bytes moved by one step of ``case``, counted on fake tensors."""
    from workbench.devices.work import Work, work_of

    def make() -> dict[str, Any]:
        return work_of(_some_trace(case).recorder).to_dict()

    return Work.from_dict(kept(case, _WORK, make, fresh=fresh))


def flops_by_phase(case: Case) -> dict[str, int]:
    """Of :func:`counted` the floating-point operations of ``forward``, ``backward`` and ``update``."""
    return kept(case, _FLOPS, lambda: _by_phase(_some_trace(case).recorder))


def _by_phase(recorder: Recorder) -> dict[str, int]:
    total = dict.fromkeys(("forward", "backward", "update"), 0)
    for call, count in recorder.calls.items():
        total[call.phase] += count * call.flops
    return total


def predicted_step_time(case: Case, *, fresh: bool = False) -> Quantity:
    """Seconds of one step of ``case`` on this host, at the pace it had when it was calibrated.

    The step is recorded on fake tensors; its operators are timed in their order on stand-in tensors. Raises
    ``ResourceMissing`` before a calibration, ``Incompatible`` naming ``prediction`` like :func:`predicted`.
    """

    def make() -> dict[str, Any]:
        from workbench.devices.step_time import calibrated_pace, relative_time

        at_calibration = calibrated_pace()  # before any work: without a calibration there is none to do
        units, note = relative_time(traced(case, taped=True).recorder)
        return {"units": units, "pace": at_calibration, "note": note}

    made = kept(case, _step_time(), make, fresh=fresh)
    return Quantity(made["units"] * made["pace"], "predicted", f"{made['note']}; at the pace of the calibration")


def step_time_known(case: Case) -> bool:
    """Whether :func:`predicted_step_time` can answer without timing anything."""
    return is_kept(case, _step_time())


def _step_time() -> Kind:  # a new calibration makes step times anew
    from workbench.devices.host import calibration

    return Kind(f"step time {(calibration() or {}).get('when')}", ("devices",))


@alone()
def traced(case: Case, tier: Tier = Tier.PROBE, *, taped: bool = False) -> Trace:
    """Run ``case`` on fake tensors, or take one of the latest runs of this process; its work is kept as well.

    ``taped`` as in :func:`traced_at`.

    Raises ``Incompatible`` naming ``prediction`` when the step does not run on fake tensors, and naming
    ``method`` when the method fails on the model.
    """
    key = key_of(case, _trace(tier))
    found = _recent.get(key)
    if found is not None and (found.recorder.taped or not taped):
        _recent.move_to_end(key)
        return found
    trace = next(iter(traced_at(case, (), tier, taped=taped)))
    _recent[key] = trace
    while len(_recent) > _RECENT:
        _recent.popitem(last=False)
    return trace


def traced_at(case: Case, others: Iterable[Case], tier: Tier = Tier.PROBE, *, taped: bool = False) -> Iterator[Trace]:
    """Traces of ``case``, kept like a prediction, and then of ``others``, which are it with another batch or length.

    The model is built and warmed up once, so each further shape costs one step. Log and recorder are the same
    objects each time: read them before asking for the next. ``taped`` also writes the program that step times are
    replayed from, which takes as long as counting. Raises like :func:`traced`.
    """
    from workbench.devices.record import Recorder
    from workbench.memory.predict import traces

    case.example()  # a batch that cannot be made is bad input, and known before anything is compiled
    cases = [case, *others]
    recorder = Recorder(taped=taped)

    def begun(build: Callable[[], nn.Module]) -> tuple[Any, Iterator[Any]]:
        recorder.reset()
        steps = traces(
            build,
            lambda model: _Recorded(case.step(model), recorder),
            [at.example for at in cases],
            tier=tier,
            tell=recorder.heard,
        )
        return next(steps), steps

    with _in_one_sentence(case):
        found, rest = _shapes_first(case, begun)
    for at in cases:
        trace = Trace(*found, recorder)
        if at is case:
            _keep_both(at, tier, trace)
        yield trace
        if at is not cases[-1]:
            with _in_one_sentence(at):
                found = next(rest)


@contextmanager
def _in_one_sentence(case: Case) -> Iterator[None]:
    """What stops a trace, as an error of ours."""
    from workbench.memory.probe import MISMATCH

    try:
        yield
    except (PintpotError, MemoryError, OSError):
        raise
    except (NotImplementedError, RuntimeError) as error:
        if "can't allocate memory" in str(error):
            raise ResourceMissing(
                f"even the inputs of batch {case.batch} do not fit this machine's memory; ask for a smaller batch"
            ) from error
        first = str(error).strip().split("\n")[0][:200]
        if any(words in first for words in MISMATCH) and (levers := _levers_on(case)):
            raise Incompatible("method", case.method_name, f"it does not work with {levers}: {first}") from error
        reason = f"its step does not run on fake tensors ({first}); measure it instead"
        raise Incompatible("prediction", case.method_name, reason, lasting=False) from error
    except Exception as error:  # a tuner that breaks inside its library
        reason = f"it fails on this model: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
        raise Incompatible("method", case.method_name, reason, lasting=False) from error


def recent_log(case: Case) -> EventLog | None:
    """The event log of a trace that this process made lately; names what a refused allocation was for."""
    found = (_recent.get(key_of(case, _trace(tier))) for tier in (Tier.PROBE, Tier.FORMULA))
    return next((trace.log for trace in found if trace is not None), None)


def _some_trace(case: Case) -> Trace:
    """Any tier records the same calls: one of this process if there is one, else the one that is asked for most."""
    for tier in (Tier.FAKE, Tier.FORMULA):
        if (found := _recent.get(key_of(case, _trace(tier)))) is not None:
            return found
    return traced(case, Tier.PROBE)


def _keep_both(case: Case, tier: Tier, trace: Trace) -> None:
    from workbench.devices.work import work_of

    write_answer(key_of(case, _profile(tier)), trace.profile.to_dict())
    write_answer(key_of(case, _WORK), work_of(trace.recorder).to_dict())
    write_answer(key_of(case, _FLOPS), _by_phase(trace.recorder))


def _levers_on(case: Case) -> str:
    """The levers of a case that are not as the method has them, in words."""
    from workbench.methods.base import levers

    fields = levers.Levers.model_fields
    return ", ".join(f"{n} {v}" for n, v in case.settings.items() if n in fields and v != fields[n].default)


class _Recorded:
    """A training step whose latest call alone is what the recorder has seen."""

    def __init__(self, step: TrainingStep, recorder: Recorder) -> None:
        self._step, self._recorder, self._warm, self.silent = step, recorder, False, False

    def __call__(self, batches: Any) -> Any:
        if not self.silent:
            self._recorder.reset()
        warming, self._warm = not self._warm, True
        with nullcontext() if warming or self.silent else self._recorder.told():  # nobody reads the first step
            return self._step(batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def _shapes_first(case: Case, ask: Callable[[Callable[[], nn.Module]], Asked]) -> Asked:
    """Ask with a model that has shapes only; a method that computes with the weights gets random ones instead."""
    if not case.method.reads_weights or case.spec.cost_only:
        try:
            return ask(lambda: case.attached(device="meta", weights=False))
        except (Incompatible, NotImplementedError, RuntimeError) as error:
            if "meta" not in str(error).lower() or case.spec.cost_only:
                raise
    return ask(lambda: case.attached(device="cpu", weights=False))


# -- the cache -----------------------------------------------------------------------------------------


def known(case: Case, tier: Tier = Tier.PROBE) -> bool:
    """Whether the profile of ``case``, or the refusal that a trace ended in, can be had without tracing it."""
    return case.refusal() is not None or is_kept(case, _profile(tier))


def is_kept(case: Case, kind: Kind) -> bool:
    """Whether :func:`kept` has this without making it."""
    key = key_of(case, kind)
    return key in _refused or answer_file(key).exists()


def kept(case: Case, kind: Kind, make: Callable[[], dict[str, Any]], *, fresh: bool = False) -> dict[str, Any]:
    """What the cache holds, else what ``make`` gives, which is kept; so is a refusal.

    A refusal that only an error of a library stands behind is kept no longer than this process lives.
    """
    found = None if fresh else _found(key_of(case, kind))
    if found is None:
        if kind.tier is Tier.PROBE:  # it is not the compiler that says whether a formula answers, but the probe
            try_the_probe()
        key = key_of(case, kind)
        found = (None if fresh else _found(key)) or _made(key, make, fresh)
    if "refused" in found:
        raise Incompatible(*found["refused"])
    return found


def _found(key: str) -> dict[str, Any] | None:
    return _refused.get(key) or read_answer(key)


def _made(key: str, make: Callable[[], dict[str, Any]], fresh: bool) -> dict[str, Any]:
    if fresh:
        _recent.clear()
    _refused.pop(key, None)
    try:
        with uncollected():  # a first answer imports and builds: many new objects and hardly any garbage
            found = make()
    except Incompatible as error:
        found = {"refused": [error.field, str(error.value), error.reason]}
        behind = _behind(error)
        if any("OutOfMemory" in name or name == "MemoryError" for name in behind):
            return found  # what else this process does may have taken it, and may give it back
        if not error.lasting or any(issubclass(kind, ImportError) for kind in behind.values()):
            _refused[key] = found
            return found
    write_answer(key, found)
    return found


def _behind(error: BaseException) -> dict[str, type[BaseException]]:
    """Kinds of errors that an error was made of, by name."""
    found: dict[str, type[BaseException]] = {}
    while error.__cause__ is not None:
        error = error.__cause__
        found[type(error).__name__] = type(error)
    return found
