"""The planned arena is the whole truth: a step performed inside gives the same integers, one laid out wrongly not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.units import format_size, parse_size
from workbench.devices import get
from workbench.lens.arena_run import run_in_arena
from workbench.lens.microcontroller import Buffer, StepPlan, plan_step, require_head
from workbench.plan.refusal import on_a_device, ways_found
from workbench.plan.ways import with_batch
from workbench.studies.microcontroller import SCHEMES

SCHEME = {"biases": 12, "update": "-1:1/4,-4:1/2"}
ALL = {"biases": 99, "update": "all"}
KB = 1024


def case(model: str = "mcu-net", **settings) -> Case:
    return Case("pixels", model, "int8-training", 1, settings=settings)


def gradients_of_a_step(net, batch, loss_of) -> dict:
    names = {id(conv): name for name, conv in net.convolutions}
    found = {}
    loss_of(net, batch).backward()
    net.backward(lambda conv, gradients: found.__setitem__(names[id(conv)], gradients))
    net.zero_grad()
    return found


@pytest.mark.parametrize("updates", ["early", "late"])
@pytest.mark.parametrize("settings", [SCHEME, SCHEMES["sparse"], ALL], ids=["scheme", "the page's sparse", "all"])
@pytest.mark.parametrize("model", ["mcu-net", "mcu-watch"])
def test_a_step_inside_the_arena_gives_the_same_integers(model, settings, updates):
    made = case(model, **settings, updates=updates)
    net, batch = made.attached(), made.example()[0]
    plan = plan_step(made)
    assert run_equals(net, plan, batch, made)


def run_equals(net, plan, batch, made) -> bool:
    inside = run_in_arena(net, plan, batch, made.task.loss)
    outside = gradients_of_a_step(net, batch, made.task.loss)
    assert inside.keys() == outside.keys() and inside
    assert any(g.weight is not None and g.weight.any() for g in outside.values())
    return all(
        torch.equal(mine, other) if other is not None else mine is None
        for name in outside
        for mine, other in (
            (inside[name].weight, outside[name].weight),
            (inside[name].bias, outside[name].bias),
        )
    )


def test_a_plan_that_lets_a_saved_input_be_overwritten_is_found_out():
    made = case(**SCHEME)
    net, batch = made.attached(), made.example()[0]
    plan = plan_step(made)
    saved = next(b for b in plan.buffers if b.kind == "saved input")
    victim = next(b for b in plan.buffers if b.kind == "gradient of a map" and saved.start < b.start < saved.end)
    wrong = tuple(replace(b, offset=victim.offset) if b is saved else b for b in plan.buffers)
    assert not run_equals(net, replace(plan, buffers=wrong), batch, made)


@pytest.mark.parametrize("model", ["mcu-net", "mcu-watch"])
def test_buffers_that_live_together_do_not_overlap_and_lines_sum_to_the_total(model):
    plan = plan_step(case(model, **SCHEME))
    for i, one in enumerate(plan.buffers):
        for other in plan.buffers[i + 1 :]:
            if one.start < other.end and other.start < one.end:
                assert one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
    assert sum(line.size for line in plan.ledger()) == plan.sram
    assert max(plan.live) <= plan.arena <= max(plan.live) * 1.05


def test_the_small_nets_train_within_256_kb_and_one_megabyte_of_flash():
    device = get("stm32f746")
    for model in ("mcu-net", "mcu-watch"):
        plan = plan_step(case(model, **SCHEME))
        assert plan.sram <= 256 * KB and plan.flash_bytes <= 2**20
        assert plan.refusal(device, 256 * KB) is None
    whole = plan_step(case(**ALL)).refusal(device, 256 * KB)
    assert whole is not None and "SRAM" in whole and "more than there is" in whole
    large = plan_step(Case("pixels", "efficientnet-lite0", "int8-training", 1, settings=SCHEME))
    assert large.refusal(device, 10**9) is not None
    assert "flash" in (replace(large, buffers=(), arena=0, resident=()).refusal(device) or "")


def test_flash_holds_all_that_the_step_reads():
    made = case(**SCHEME)
    net, plan = made.attached(), plan_step(made)
    sizes = {line.label: line.size for line in plan.flash}
    tensors = sum(b.numel() * b.element_size() for b in net.buffers()) + sum(
        4 * p.numel() for p in net.classifier.parameters()
    )
    lists = sum(2 * conv.channels.numel() for _, conv in net.convolutions if conv.channels is not None)
    zeros = sum(2 if name in dict(net.convolutions) else 3 for name in net.layers)
    assert lists and sum(sizes.values()) == plan.flash_bytes == tensors + lists + zeros


def test_updates_at_their_gradients_need_one_tensors_gradient_not_the_sum():
    early, late = (plan_step(case(**ALL, updates=u)) for u in ("early", "late"))
    sums = [b.size for b in late.buffers if b.kind == "gradient of a weight"]
    assert max(late.gradients()) == sum(sums)
    by_layer = {}
    for b in early.buffers:
        if b.kind == "gradient of a weight":
            by_layer[b.start] = by_layer.get(b.start, 0) + b.size
    assert max(early.gradients()) == max(by_layer.values())
    assert early.arena < 0.6 * late.arena


def test_a_budget_below_the_heads_own_need_names_the_shortfall():
    need = require_head(case(**SCHEME), 256 * KB).sram
    assert need < plan_step(case(**SCHEME)).sram
    with pytest.raises(Incompatible, match=r"the head alone.*1\.00 KiB more"):
        require_head(case(**SCHEME), need - KB)


def test_whoever_is_refused_hears_what_the_device_itself_would_need():
    """The emulation here takes megabytes; the budget of a microcontroller is held against the planned step."""
    asked, head, own = case(**SCHEME), require_head(case(**SCHEME), 256 * KB).sram, plan_step(case(**SCHEME)).sram
    below = ways_found(asked, head - KB, seconds=0)[1]
    assert below.startswith("on the device itself") and "1.00 KiB more than the budget" in below and "head" in below
    between, above = (on_a_device(asked, budget) for budget in (own - KB, own))
    assert "1.00 KiB more than the budget" in between and f"the head alone {format_size(head)}" in between
    assert "within the budget" in above and "emulation" in above
    (way,), said = ways_found(asked, own, seconds=0)
    assert "no change" not in said, "a budget for the emulation is a way out"
    assert asked.predict().peak <= parse_size(way.split("--budget ")[1].split()[0]) < asked.predict().peak + 2 * KB
    assert on_a_device(replace(asked, method_name="head", settings={}), 1) == ""
    assert on_a_device(case(graph="float", update="-1"), 1) == ""


def test_an_integer_net_is_never_planned_with_more_micro_batches():
    """Gradients are gone once they are used; a plan that asked for two once ended in that refusal."""
    with pytest.raises(Incompatible, match="accumulate"):
        replace(case(**SCHEME), accumulate=2)
    assert with_batch(replace(case(**SCHEME), batch=4), 2).accumulate == 1


def test_adam_costs_eight_bytes_a_trained_number_and_unknown_rules_are_refused():
    plain, adam = (plan_step(case(**SCHEME, optimizer=o)) for o in ("sgd", "adamw"))
    state = sum(line.size for line in adam.resident if line.kind == "optimizer state")
    net = case(**SCHEME).attached()
    numbers = sum(getattr(p, "stands_for", 0) for p in net.parameters())
    assert state == 8 * numbers and adam.sram > plain.sram + state - 1
    with pytest.raises(Incompatible, match="planned are"):
        plan_step(case(optimizer="galore"))


@pytest.mark.parametrize("settings", [{"graph": "float", "update": "-1"}, {"graph": "fake", "update": "-1"}])
def test_only_integer_graphs_are_planned(settings):
    with pytest.raises(Incompatible, match="int8 graph"):
        plan_step(case(**settings))
    with pytest.raises(Incompatible, match="inverted residuals"):
        plan_step(Case("tokens", "tiny-bert", "int8-training", 1))


def test_live_bytes_are_those_of_the_buffers():
    plan = StepPlan((Buffer("a", "map", 3, 0, 2), Buffer("b", "map", 5, 1, 3)), ("x", "y", "z"), (), (), 8)
    assert plan.live == (3, 8, 5) and plan.peak_instruction == 1


def test_one_kept_net_gives_each_scheme_the_plan_of_its_own_net() -> None:
    """Planned after the widest scheme, nothing of that one is left in a narrower one."""
    plan_step(case(**ALL, gradients="all"))
    kept = plan_step(case(**SCHEME))
    alone = case(**SCHEME)
    net = alone.attached(device="meta", weights=False)
    assert kept == alone.method.device_plan(net, alone.spec, alone.config, alone.length)


def test_a_learning_rate_is_traced_once() -> None:
    from workbench.keys import Kind, key_of
    from workbench.predictions import known

    first, second = (Case("tokens", "tiny-bert", "head", 2, 8, settings={"lr": lr}) for lr in (0.01, 0.02))
    first.predict()
    assert known(second) and first.identity() != second.identity()
    other = Case("tokens", "tiny-bert", "head", 2, 8, settings={"lr": 0.01, "optimizer": "sgd"})
    assert key_of(first, Kind("x")) == key_of(second, Kind("x")) != key_of(other, Kind("x"))
