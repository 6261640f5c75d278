"""Step time on this host: each kind of operator call is timed once on real tensors, plus calibrated call costs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from workbench.core import paths
from workbench.core.errors import ResourceMissing
from workbench.devices.host import calibration
from workbench.devices.record import FAR, MIDDLE, NEAR, Recorder, Signature, TensorSpec, record
from workbench.records.schema import Quantity

CLASSES = ("view", "forward", "backward", "optimizer")  #: kinds of call whose cost outside the kernel is calibrated
_EVICT = {MIDDLE: 3 << 20, FAR: 64 << 20}  #: bytes to stream so that an operand leaves the nearer caches
_ROOM = 3  #: a probe may take this many times the operands' bytes


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


class _Operands:
    """Real tensors made from specs; each remembers where its bytes should be when the call begins."""

    def __init__(self, signature: Signature) -> None:
        self.high = max(_high(signature.op, signature.args), 1)
        self.bases: list[tuple[int, torch.Tensor]] = []
        self.args = [self._make(a) for a in signature.args]
        self.kwargs = {k: self._make(v) for k, v in signature.kwargs}

    def _make(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return [self._make(item) for item in value]
        if not isinstance(value, TensorSpec):
            return value
        length = 1 + sum((n - 1) * abs(s) for n, s in zip(value.shape, value.stride))
        length = length if all(value.shape) else 0
        if value.dtype.is_floating_point or value.dtype.is_complex:
            base = torch.full((length,), 0.5, dtype=value.dtype)
        elif value.dtype is torch.bool:
            base = torch.ones(length, dtype=torch.bool)
        else:
            base = torch.randint(self.high, (length,), dtype=torch.int64).to(value.dtype)
        self.bases.append((value.where, base))
        return base.as_strided(value.shape, value.stride)

    def place(self, buffers: Mapping[int, torch.Tensor]) -> None:
        """Bring every operand to its distance: stream the caches away, then read back what should be near."""
        for level in (FAR, MIDDLE):
            if not any(where >= level for where, _ in self.bases):
                continue
            buffers[level].sum()
            for where, base in self.bases:
                if where < level and base.numel():
                    base.view(torch.uint8).max() if base.dtype is not torch.bool else base.any()


def _probe(signature: Signature, buffers: Mapping[int, torch.Tensor]) -> float:
    """Median seconds of one call. Raises whatever the operator raises when it cannot be replayed alone."""
    operands = _Operands(signature)
    far = any(where != NEAR for where, _ in operands.bases)
    taken: list[float] = []
    started = time.perf_counter()
    for attempt in range(40):
        if far:
            operands.place(buffers)
        before = time.perf_counter_ns()
        out = signature.op(*operands.args, **operands.kwargs)
        after = time.perf_counter_ns()
        del out
        if attempt:  # the first call pays for choosing a kernel
            taken.append((after - before) * 1e-9)
        if attempt >= 5 and time.perf_counter() - started > 0.03:
            break
    return statistics.median(taken)


class ProbeStore:
    """Timings of operator calls, kept per host, torch build and number of threads."""

    def __init__(self, folder: Path | None = None) -> None:
        host = f"{platform.node()}|{platform.processor()}|{os.cpu_count()}|{torch.__version__}"
        name = hashlib.sha256(host.encode()).hexdigest()[:12]
        folder = folder or paths.cache() / "devices"
        self.path = folder / f"operator-times-{name}-{torch.get_num_threads()}.json"
        try:
            self.seconds: dict[str, float] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.seconds = {}

    @staticmethod
    def key(signature: Signature) -> str:
        return hashlib.sha256(signature.key.encode()).hexdigest()[:24]

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(self.seconds), encoding="utf-8")
        partial.replace(self.path)


def time_signatures(
    signatures: Iterable[Signature], store: ProbeStore | None = None
) -> tuple[dict[Signature, float], list[str]]:
    """Seconds of one call of each signature, and the names of operators that could not be timed.

    Each is run alone on real tensors of its own size, its operands at the distance in memory they had in the
    step. What the store already knows is not run again. A call too large for the free memory is not timed.
    """
    import psutil

    store = store or ProbeStore()
    buffers = {level: torch.ones(size, dtype=torch.uint8) for level, size in _EVICT.items()}
    seconds: dict[Signature, float] = {}
    failed: list[str] = []
    fresh = False
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for signature in signatures:
            key = store.key(signature)
            if key not in store.seconds:
                if signature.bytes * _ROOM > psutil.virtual_memory().available:
                    failed.append(str(signature.op))
                    continue
                try:
                    store.seconds[key] = _probe(signature, buffers)
                    fresh = True
                except Exception:  # an operator that needs more than its shapes; it is named in the result
                    failed.append(str(signature.op))
                    continue
            seconds[signature] = store.seconds[key]
    if fresh:
        store.save()
    return seconds, sorted(set(failed))


def overheads() -> dict[str, float]:
    """Calibrated seconds per call of each class. Raises ``ResourceMissing`` before a calibration exists."""
    stored = calibration()
    threads = str(torch.get_num_threads())
    found = (stored or {}).get("overheads", {})
    if not found:
        raise ResourceMissing("this-host has not been calibrated yet; run: pintpot devices calibrate")
    return found.get(threads) or next(iter(found.values()))


def kernel_seconds(calls: Mapping[Signature, int], seconds: Mapping[Signature, float]) -> float:
    """Time inside operators alone."""
    return sum(count * seconds[s] for s, count in calls.items() if s in seconds)


def predict(recorder: Recorder, store: ProbeStore | None = None, costs: Mapping[str, float] | None = None) -> Quantity:
    """Seconds of the recorded step on this host with the present number of threads.

    ``costs`` defaults to the stored calibration. Operators that could not be timed are named in the note and
    estimated from the bytes they move at 10 GB/s, which is an assumption.
    """
    costs = overheads() if costs is None else costs
    seconds, failed = time_signatures(recorder.calls, store)
    total = kernel_seconds(recorder.calls, seconds)
    counts: Counter[str] = Counter()
    for signature, count in recorder.calls.items():
        counts[overhead_class(signature)] += count
        if signature not in seconds:
            total += count * signature.bytes / 10e9
    total += sum(counts[name] * costs.get(name, 0.0) for name in CLASSES)
    note = f"{len(seconds)} kinds of operator call timed alone on {torch.get_num_threads()} thread(s)"
    if failed:
        note += f"; not timed: {', '.join(failed)}"
    return Quantity(total, "predicted", note)


def predict_step_time(run: Callable[[], Any], *, warm: int = 1) -> Quantity:
    """Seconds one call of ``run`` takes on this host.

    ``run`` is one whole training step. Call this inside the ``FakeTensorMode`` its tensors belong to, and
    nothing of the model is computed; on real tensors the step runs ``warm + 1`` times.
    """
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    recorder = record(run, warm=warm)
    with unset_fake_temporarily():
        return predict(recorder)
