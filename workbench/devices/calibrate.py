"""Measure this host in under a minute: matrix products, memory, operator classes, call costs, power."""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workbench.core.alone import alone
from workbench.core.errors import ResourceMissing
from workbench.devices.call_costs import TimedStep, call_costs
from workbench.devices.host import as_plain, calibration, calibration_file, memory_reserved, memory_size
from workbench.devices.model import HOST, Device, parse
from workbench.devices.pace import step_clock

RAPL = Path("/sys/class/powercap")


def _time(run: Callable[[], Any], seconds: float) -> float:
    """Median seconds of ``run`` over at least three tries and about ``seconds`` in all, after one to warm up."""
    run()
    clock = step_clock()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < until:
        before = clock()
        run()
        taken.append(clock() - before)
    return statistics.median(taken)


def gemm_curve(dtype: torch.dtype, seconds: float, sizes: tuple[int, ...] = (64, 256, 512, 1024)) -> list[list[float]]:
    """Pairs (size of square operands, operations per second) of a matrix product."""
    curve = []
    for size in sizes:
        if dtype is torch.int8:
            a = torch.ones(size, size, dtype=dtype)
            taken = _time(lambda a=a: torch._int_mm(a, a), seconds)  # type: ignore[misc]
        else:
            a = torch.full((size, size), 0.5, dtype=dtype)
            taken = _time(lambda a=a: a @ a, seconds)  # type: ignore[misc]
        curve.append([size, 2.0 * size**3 / taken])
    return curve


def class_rates(seconds: float) -> dict[str, float]:
    """Bytes per second of one typical operator of each class, on operands the size of an activation."""
    x = torch.full((1024, 384), 0.5)
    big = torch.full((4 << 20,), 0.5)
    state = [torch.full_like(big, 0.5) for _ in range(3)]
    table, rows = torch.full((30000, 384), 0.5), torch.randint(30000, (1024,))
    size = x.numel() * 4

    def adam() -> None:
        torch._fused_adamw_(
            [big], [state[0]], [state[1]], [state[2]], [], [torch.tensor(1.0)],
            lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    return {
        "elementwise": 3 * size / _time(lambda: x + x, seconds),
        "reduction": 2 * size / _time(lambda: nn.functional.layer_norm(x, (384,)), seconds),
        "rng": size / _time(lambda: x.bernoulli_(0.5), seconds),
        "gather": 2 * size / _time(lambda: table[rows], seconds),
        "optimizer": 7 * big.numel() * 4 / _time(adam, seconds),
    }


def memory_bandwidth(seconds: float) -> float:
    """Bytes per second read plus written by a copy much larger than the caches."""
    source = torch.ones(32 << 20)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / _time(lambda: target.copy_(source), seconds)


def power(seconds: float) -> tuple[dict[str, Any], str]:
    """Idle and active watts of the processor packages from its own counters, or nothing and the reason."""
    counters = sorted(RAPL.glob("intel-rapl:?/energy_uj"))

    def joules() -> float:
        return sum(int(c.read_text()) for c in counters) * 1e-6

    try:
        if not counters:
            raise OSError
        first = joules()
        time.sleep(seconds)
        idle = (joules() - first) / seconds
        a, until, first = torch.ones(512, 512), time.perf_counter() + seconds, joules()
        while time.perf_counter() < until:
            a @ a
        active = (joules() - first) / seconds
    except OSError:
        return {}, "power is not known: this system shows no readable energy counters"
    source = "processor energy counters (packages only, not the whole machine)"
    numbers = {"idle": idle, "active": active}
    return {n: {"value": v, "kind": "measured", "source": source} for n, v in numbers.items() if v > 0}, ""


def curves(quick: bool, seconds: float) -> dict[str, list[list[float]]]:
    """Matrix-product curve of every dtype."""
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
    sizes = (64, 256) if quick else (64, 256, 512, 1024)
    # Half precision is slow on many processors: its large sizes would eat the minute.
    return {n: gemm_curve(t, seconds, sizes[:2] if n == "fp16" else sizes) for n, t in types.items()}


@alone()
def calibrate(*, quick: bool = False, more: Iterable[TimedStep] = ()) -> Device:
    """Measure this host and store the result; returns it as a device. ``more``: see :func:`call_costs`.

    Takes under a minute (``quick``: a few seconds, coarser). Call costs are kept per number of threads, so
    calibrate once for each number in use.
    """
    each = 0.02 if quick else 0.25
    threads = torch.get_num_threads()
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    source = f"calibration of {when[:10]} with torch {torch.__version__} on {threads} thread(s)"

    def measured(value: float) -> dict[str, Any]:
        return {"value": value, "kind": "measured", "source": source}

    gemm = curves(quick, each / 2)
    costs, common = call_costs(quick, more)
    watts, reason = power(0.2 if quick else 1.0)
    size, reserved = memory_size(), memory_reserved()
    device: dict[str, Any] = {
        "title": f"This host: {platform.processor() or platform.machine()}",
        "category": "host",
        "doc": f"Measured here: {source}.",
        "memory": {"name": "memory", "size": as_plain(size), "bandwidth": measured(memory_bandwidth(each))},
        "reserved": as_plain(reserved),
        "throughput": {name: measured(max(rate for _, rate in curve)) for name, curve in gemm.items()},
        "efficiency": {"value": 1.0, "kind": "measured", "source": "the rates above are what matrix products reach"},
        "overhead": measured(max(costs["forward"], 0.0) + 1e-6),
        "class_rates": {name: measured(rate) for name, rate in class_rates(each).items()},
        "power": watts,
        "calibrated": True,
        "notes": [reason] if reason else [],
    }
    parsed = parse(device, HOST)
    _store({"device": device, "gemm_curves": gemm, "torch": torch.__version__, "when": when}, threads, costs, common)
    return parsed


def calibrated(*, quick: bool = False, again: bool = False, more: Iterable[TimedStep] = ()) -> Device:
    """This host with the calibration that is stored, or measured now where none is or ``again`` asks for it.

    So a short calibration never takes the place of a thorough one unasked.
    """
    from workbench.devices.host import host
    from workbench.devices.step_time import overheads

    if not again:
        with contextlib.suppress(ResourceMissing):
            overheads()
            return host()
    return calibrate(quick=quick, more=more)


def _store(result: dict[str, Any], threads: int, costs: dict[str, float], common: float) -> None:
    kept = (calibration() or {}).get("calls", {})
    result["calls"] = {**kept, str(threads): {"costs": costs, "pace": common}}
    path = calibration_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
    partial.replace(path)
