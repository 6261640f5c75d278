"""Step time on this host: each kind of operator call is timed on real tensors, plus calibrated call costs.

Everything is kept in units of the host's pace (see :mod:`workbench.devices.pace`), so that a timing taken on a busy
machine is worth the same as one taken on a quiet one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from workbench.core import paths
from workbench.core.errors import ResourceMissing
from workbench.devices.host import calibration
from workbench.devices.pace import pace, step_clock
from workbench.devices.record import FAR, MIDDLE, NEAR, Recorder, Signature, TensorSpec, record, tensors_in
from workbench.records.schema import Quantity

#: What a step pays for beside its operators' own time: per view, per other operator by phase, per module call,
#: per page of memory that the system takes back and hands out again within a step.
CLASSES = ("view", "forward", "backward", "optimizer", "module", "page")
_BLOCK = 1e-3  #: seconds that calls are timed together
_ROTATION = {MIDDLE: 4 << 20, FAR: 64 << 20}  #: bytes of copies to go through so that none is found nearer
_ROOM = 3  #: a probe may take this many times the operands' bytes
_VISITS = 3  #: an operator is timed again on later occasions until it has been visited this often
_SPELL = 0.3  #: seconds of probing between two looks at the pace


def overhead_class(signature: Signature) -> str:
    """Which calibrated cost a call pays beside its own time."""
    if signature.group == "view":
        return "view"
    return "optimizer" if signature.phase == "update" else signature.phase


def _high(op: Any, args: tuple[Any, ...]) -> int:
    """Exclusive upper bound of index operands, so that a probe never indexes out of range."""
    name = op._schema.name.partition("::")[2]
    floats = [a for a in args if isinstance(a, TensorSpec) and a.dtype.is_floating_point and a.shape]
    if "embedding_dense_backward" in name:
        return int(args[2])
    if "nll_loss" in name:
        return next((a.shape[-1] for a in floats if len(a.shape) > 1), 1)
    return min(floats[0].shape) if floats else 1


def _stored(spec: TensorSpec) -> int:
    """Elements between the first and the last one of a tensor."""
    return 1 + sum((n - 1) * abs(s) for n, s in zip(spec.shape, spec.stride)) if all(spec.shape) else 0


def _specs(value: Any) -> list[TensorSpec]:
    if isinstance(value, TensorSpec):
        return [value]
    return [s for item in value for s in _specs(item)] if isinstance(value, tuple) else []


class _Operands:
    """Real tensors made from specs.

    An operand that was far away in the step is far away in the probe: there are so many copies of it, used in
    turn, that the one asked for has left the nearer caches. Operands that were near are always the same.
    """

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.high = max(_high(signature.op, signature.args), 1)
        sizes = dict.fromkeys((NEAR, *_ROTATION), 0)
        for spec in _specs((signature.args, tuple(v for _, v in signature.kwargs))):
            sizes[spec.where] += _stored(spec) * spec.dtype.itemsize
        self.copies = {NEAR: 1}
        for where, room in _ROTATION.items():
            self.copies[where] = min(-(-room // sizes[where]), 64) if sizes[where] else 1
        self.made: list[list[torch.Tensor]] = []
        self.template = self._plan(signature.args), {k: self._plan(v) for k, v in signature.kwargs}

    def _plan(self, value: Any) -> Any:
        """The argument with every spec replaced by a function from the number of the call to a tensor."""
        if isinstance(value, tuple):
            return [self._plan(item) for item in value]
        if not isinstance(value, TensorSpec):
            return value
        copies = [self._make(value) for _ in range(self.copies[value.where])]
        return lambda call: copies[call % len(copies)]

    def _make(self, spec: TensorSpec) -> torch.Tensor:
        length = _stored(spec)
        if spec.dtype.is_floating_point or spec.dtype.is_complex:
            base = torch.full((length,), 0.5, dtype=spec.dtype)
        elif spec.dtype is torch.bool:
            base = torch.ones(length, dtype=torch.bool)
        else:
            base = torch.randint(self.high, (length,), dtype=torch.int64).to(spec.dtype)
        return base.as_strided(spec.shape, spec.stride)

    def call(self, number: int) -> tuple[list[Any], dict[str, Any]]:
        """Arguments for the call with this number."""

        def fill(value: Any) -> Any:
            if isinstance(value, list):
                return [fill(item) for item in value]
            return value(number) if callable(value) and not isinstance(value, type) else value

        args, kwargs = self.template
        return fill(args), {k: fill(v) for k, v in kwargs.items()}


def _lag(signature: Signature, out: Any) -> int:
    """How many results to hold on to, so that the next one is written as far away as in the step."""
    size = sum(t.untyped_storage().nbytes() for t in tensors_in(out))
    room = _ROTATION.get(signature.result, 0)
    return min(room // size, 64) if size >= 1 << 14 else 0


def _probe(signature: Signature) -> float:
    """Seconds of one call, the median over blocks of calls. Raises what the operator raises when replayed alone.

    Blocks last about a millisecond and go by the clock of steps, so that what disturbs a step disturbs them alike.
    """
    operands = _Operands(signature)
    args, kwargs = operands.call(0)
    clock = step_clock()
    out = signature.op(*args, **kwargs)  # the first call also pays for choosing a kernel
    before = clock()
    out = signature.op(*args, **kwargs)
    once = clock() - before
    lag = 0 if any(out is a for a in args) else _lag(signature, out)
    held: deque[Any] = deque([out], maxlen=max(lag, 1))
    calls = min(max(int(_BLOCK / max(once, 1e-6)), 1), 200)
    taken: list[float] = []
    number, warm = 1, lag
    started = time.perf_counter()
    while len(taken) < 3 or (len(taken) < 12 and time.perf_counter() - started < 0.03):
        made = [operands.call(number + n) for n in range(max(calls, warm))]
        number, warm = number + len(made), 0
        before = clock()
        for args, kwargs in made:
            held.append(signature.op(*args, **kwargs))
        taken.append((clock() - before) / len(made))
    return statistics.median(taken[1:])


class ProbeStore:
    """Timings of operator calls in units of the host's pace, kept per host, torch build and number of threads."""

    def __init__(self, folder: Path | None = None) -> None:
        host = f"{platform.node()}|{platform.processor()}|{os.cpu_count()}|{torch.__version__}"
        name = hashlib.sha256(host.encode()).hexdigest()[:12]
        folder = folder or paths.cache() / "devices"
        self.path = folder / f"operator-paces-{name}-{torch.get_num_threads()}.json"
        try:
            self.visits: dict[str, list[float]] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.visits = {}

    @staticmethod
    def key(signature: Signature) -> str:
        return hashlib.sha256(signature.key.encode()).hexdigest()[:24]

    def wanting(self, signature: Signature) -> bool:
        """Whether another visit would still tell something."""
        return len(self.visits.get(self.key(signature), ())) < _VISITS

    def add(self, timings: Mapping[Signature, float]) -> None:
        for signature, timing in timings.items():
            self.visits.setdefault(self.key(signature), []).append(timing)

    def get(self, signature: Signature) -> float | None:
        """Median of the visits, or ``None`` before the first."""
        seen = self.visits.get(self.key(signature))
        return statistics.median(seen) if seen else None

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(self.visits), encoding="utf-8")
        partial.replace(self.path)


def _spells(signatures: Iterable[Signature]) -> Iterator[dict[Signature, float]]:
    """Timings of one visit to each signature, in units of the pace just before and after its spell."""
    import psutil

    first = pace()
    raw: dict[Signature, float] = {}
    until = time.perf_counter() + _SPELL
    for signature in signatures:
        if signature.bytes * _ROOM > psutil.virtual_memory().available:
            continue
        try:
            raw[signature] = _probe(signature)
        except Exception:  # an operator that needs more than its shapes; it is named in the result
            continue
        if time.perf_counter() > until:
            last = pace()
            yield {s: 2 * seconds / (first + last) for s, seconds in raw.items()}
            first, raw, until = last, {}, time.perf_counter() + _SPELL
    if raw:
        last = pace()
        yield {s: 2 * seconds / (first + last) for s, seconds in raw.items()}


def time_signatures(
    signatures: Iterable[Signature], store: ProbeStore | None = None
) -> tuple[dict[Signature, float], list[str]]:
    """Time of one call of each signature in units of the pace, and the names of operators that could not be timed.

    Each is run alone on real tensors of its own size, its operands at the distance in memory they had in the
    step. What the store has visited often enough is not run again; of several visits the median counts. A call
    too large for the free memory is not timed.
    """
    store = store or ProbeStore()
    signatures = list(signatures)
    wanting = list({store.key(s): s for s in signatures if store.wanting(s)}.values())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for timings in _spells(wanting) if wanting else ():
            store.add(timings)
            store.save()
    known = {s: cost for s in signatures if (cost := store.get(s)) is not None}
    return known, sorted({str(s.op) for s in signatures if s not in known})


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
    if not found:
        raise ResourceMissing("this-host has not been calibrated yet; run: pintpot devices calibrate")
    return found.get(str(torch.get_num_threads())) or next(iter(found.values()))


def kernel_time(calls: Mapping[Signature, int], costs: Mapping[Signature, float]) -> float:
    """Time inside operators alone, in the units of ``costs``."""
    return sum(count * costs[s] for s, count in calls.items() if s in costs)


def relative_time(
    recorder: Recorder, store: ProbeStore | None = None, costs: Mapping[str, float] | None = None
) -> tuple[float, str]:
    """Time of the recorded step in units of the pace with the present number of threads, and what it rests on.

    ``costs`` per call default to the stored calibration. Operators that could not be timed are named in the
    note and estimated from the bytes they move at 10 GB/s, which is an assumption.
    """
    costs = overheads() if costs is None else costs
    times, failed = time_signatures(recorder.calls, store)
    total = kernel_time(recorder.calls, times)
    counts: Counter[str] = Counter({"module": recorder.modules, "page": recorder.pages})
    missing = 0
    for signature, count in recorder.calls.items():
        counts[overhead_class(signature)] += count
        if signature not in times:
            missing += count * signature.bytes
    total += missing / 10e9 / pace() if missing else 0.0
    total += sum(counts[name] * costs.get(name, 0.0) for name in CLASSES)
    note = f"{len(times)} kinds of operator call timed alone on {torch.get_num_threads()} thread(s)"
    if failed:
        note += f"; not timed, taken to move 10 GB/s: {', '.join(failed)}"
    return total, note


def predict(recorder: Recorder, store: ProbeStore | None = None, costs: Mapping[str, float] | None = None) -> Quantity:
    """Seconds of the recorded step on this host at its present pace; see :func:`relative_time`."""
    units, note = relative_time(recorder, store, costs)
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
