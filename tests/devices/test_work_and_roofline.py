"""Counted work equals torch's own count, and the roofline behaves as physics says."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from workbench.core.errors import ResourceMissing
from workbench.devices import get
from workbench.devices.model import HOST
from workbench.devices.roofline import roofline
from workbench.devices.work import Work, count
from workbench.records.schema import Quantity


class Block(nn.Module):
    """A small transformer block with attention by the fused operator."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = (p.view(b, t, 4, d // 4).transpose(1, 2) for p in self.qkv(self.norm(x)).chunk(3, dim=-1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(nn.functional.gelu(self.up(x)))


def training_step(batch: int = 2, length: int = 8):
    model = nn.Sequential(Block(), Block(), nn.Conv1d(length, 4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x = torch.ones(batch, length, 32)

    def run() -> None:
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def test_counts_equal_torchs_own_counter() -> None:
    run = training_step()
    with FlopCounterMode(display=False) as counter:
        run()
    work = count(run)
    assert work.total_flops == counter.get_total_flops() > 0
    assert set(work.groups) >= {"gemm", "attention", "elementwise", "reduction", "optimizer", "view"}


def test_counts_without_autograd_equal_too() -> None:
    layer, x = nn.Linear(8, 16), torch.ones(4, 8)

    def run() -> None:
        with torch.no_grad():
            layer(x)

    assert count(run).total_flops == 2 * 4 * 8 * 16


def test_fake_and_real_tensors_count_alike() -> None:
    real = count(training_step(), warm=1)
    with FakeTensorMode():
        fake = count(training_step(), warm=1)
    assert fake == real


def test_bytes_of_one_product_are_its_operands_and_result() -> None:
    a, b = torch.ones(4, 8), torch.ones(8, 16)
    work = count(lambda: a @ b)
    assert work.bytes == 4 * (4 * 8 + 8 * 16 + 4 * 16)
    assert work.groups["gemm"].calls == 1


def test_views_move_nothing() -> None:
    a = torch.ones(4, 8)
    work = count(lambda: a.t().reshape(8, 4).unsqueeze(0))
    assert work.bytes == 0
    assert work.calls == work.groups["view"].calls > 0


def test_work_survives_a_round_trip() -> None:
    work = count(training_step())
    assert Work.from_dict(work.to_dict()) == work


def test_hooks_are_removed_after_recording() -> None:
    from torch.nn.modules.module import _global_forward_pre_hooks

    from workbench.core import phase

    before = len(_global_forward_pre_hooks), len(phase._listeners)
    count(training_step())
    assert (len(_global_forward_pre_hooks), len(phase._listeners)) == before


def test_time_grows_with_batch() -> None:
    device = get("raspberry-pi-4")
    times = [roofline(count(training_step(batch)), device).time.value for batch in (1, 4, 16)]
    assert times == sorted(set(times))


def test_time_falls_with_throughput_and_bandwidth() -> None:
    work, device = count(training_step(16, 32)), get("raspberry-pi-4")
    fast = {n: Quantity(q.value * 10, q.kind, q.note) for n, q in device.throughput.items()}
    wide = dataclasses.replace(device.memory, bandwidth=Quantity(device.memory.bandwidth.value * 10, "assumed", "x"))
    base = roofline(work, device).time.value
    faster = roofline(work, dataclasses.replace(device, throughput=fast)).time.value
    both = roofline(work, dataclasses.replace(device, throughput=fast, memory=wide)).time.value
    assert both < faster < base


def test_one_product_by_hand() -> None:
    a = torch.ones(64, 64)
    device = dataclasses.replace(get("raspberry-pi-4"), overhead=Quantity(1e-3, "assumed", "x"))
    rate = device.throughput["fp32"].value * device.efficiency.value
    expected = max(2 * 64**3 / rate, 3 * 64 * 64 * 4 / device.memory.bandwidth.value) + 1e-3
    assert math.isclose(roofline(count(lambda: a @ a), device).time.value, expected)


def test_energy_is_power_times_time_and_absent_without_power() -> None:
    work = count(training_step())
    known = roofline(work, get("raspberry-pi-4"))
    assert math.isclose(known.energy.value, known.time.value * 6.4)
    unknown = roofline(work, get("stm32f746"))
    assert unknown.energy.value is None
    assert "no active power" in unknown.energy.note


def test_result_is_labelled_and_lists_its_assumptions() -> None:
    result = roofline(count(training_step()), get("jetson-nano"))
    assert result.time.kind == result.energy.kind == "extrapolated"
    assert any("assumed" in line for line in result.assumptions)
    assert math.isclose(sum(result.seconds_by_group.values()), result.time.value)


def test_a_host_without_calibration_has_no_time(tmp_path, monkeypatch) -> None:
    from workbench.devices import devices

    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    host = next(d for d in devices() if d.name == HOST)
    with pytest.raises(ResourceMissing, match="calibrate"):
        roofline(count(training_step()), host)
