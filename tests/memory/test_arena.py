"""The planned arena: bit-equal training, near-perfect packing, and a fallback that is always correct."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.case import Case
from workbench.core.errors import ResourceMissing
from workbench.memory import arena, ledger
from workbench.memory.packing import packed
from workbench.memory.placement import ALIGNMENT, largest_sum, place, plan_of

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")

CASES = {
    "bert": Case("tokens", "tiny-bert", "full", 4, 16),
    "llama": Case("tokens", "tiny-llama", "full", 4, 16),
    "cnn": Case("pixels", "tiny-cnn", "full", 4, 16),
}
METHODS = {"full": "full", "lora": "lora", "frozen": "last-blocks", "mezo": "mezo"}
SERVED = [(m, name) for m in METHODS for name in CASES if (m, name) != ("lora", "cnn")]


def _case(model: str, method: str) -> Case:
    base = CASES[model]
    return Case(base.task_name, base.model_name, METHODS[method], base.batch, base.length)


def _trained(case: Case, steps: int, runner=None, batches=None):
    """Losses and all weights and buffers after ``steps`` steps; ``runner`` wraps the step."""
    model = case.attached(weights=False)
    step = case.step(model)
    batches = batches or [case.example()] * steps
    torch.manual_seed(1)
    if runner is None:
        losses = [step(batch, seed=i) for i, batch in enumerate(batches)]
    else:
        with arena.planned(step) as planned:
            losses = [planned.step(batch, seed=i) for i, batch in enumerate(batches)]
        runner.append(planned)
    return torch.stack(losses), model.state_dict()


def _same(one, other) -> bool:
    losses, weights = one
    return torch.equal(losses, other[0]) and all(torch.equal(weights[k], other[1][k]) for k in weights)


@needs_ledger
@pytest.mark.parametrize(("method", "model"), SERVED)
def test_four_planned_steps_equal_malloc_to_the_bit(model, method):
    case = _case(model, method)
    found: list[arena.Arena] = []
    planned = _trained(case, 2 + 4, found)
    assert _same(planned, _trained(case, 2 + 4))
    used = found[0]
    assert (used.misses, used.left) == (0, 0)
    assert used.served == 4 * (len(used.plan.sizes) - used.plan.escaping) > 0
    assert used.max_live <= used.size
    assert used.size <= 1.005 * used.max_live


@needs_ledger
@pytest.mark.parametrize("model", CASES)
def test_another_batch_size_falls_back_and_stays_correct(model):
    case = _case(model, "full")
    other = Case(case.task_name, case.model_name, case.method_name, 3, case.length).example()
    batches = [case.example(), case.example(), other, case.example(), other, case.example()]
    found: list[arena.Arena] = []
    planned = _trained(case, 0, found, batches)
    assert _same(planned, _trained(case, 0, None, batches))
    used = found[0]
    planned_per_step = len(used.plan.sizes) - used.plan.escaping
    assert used.left == 2
    assert used.misses > planned_per_step
    assert used.served >= 2 * planned_per_step


@needs_ledger
def test_dropout_draws_the_same_masks():
    from memory_cases import CASES as MODELS

    found = []
    for planned in (False, True):
        torch.manual_seed(0)
        case = MODELS["dropout padded"]
        step = case.make(case.build("cpu"))
        batch = case.batch()
        torch.manual_seed(2)
        if planned:
            with arena.planned(step) as used:
                losses = [used.step(batch) for _ in range(6)]
            assert (used.misses, used.left) == (0, 0)
            assert used.served > 0
        else:
            losses = [step(batch) for _ in range(6)]
        found.append((torch.stack(losses), step.model.state_dict()))
    assert len(set(found[0][0].tolist())) == 6
    assert _same(*found)


class _Keeping:
    """A step that suddenly keeps a tensor which it freed while the plan was made."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []
        self.calls = 0

    def __call__(self, keep: bool) -> torch.Tensor:
        self.calls += 1
        first = torch.full((1000,), float(self.calls))
        if keep:
            self.kept.append(first)
        total = first.sum()
        del first
        second = torch.full((1000,), -1.0)
        return total + second.sum()


@needs_ledger
def test_what_outlives_its_plan_is_never_overwritten():
    step = _Keeping()
    with arena.planned(step, False) as used:
        assert (used.max_live, used.size) == (4008, 4032 + 2 * 64)  # the two long ones share a place
        assert used.step(True).item() == 3 * 1000 - 1000
        assert used.left == 1
        assert used.step(False).item() == 4 * 1000 - 1000  # something lives in the arena: all of it is malloc's
        assert used.left == 2
        assert torch.equal(step.kept[0], torch.full((1000,), 3.0))
        step.kept.clear()
        before = used.served
        assert used.step(False).item() == 5 * 1000 - 1000
        assert used.left == 2
        assert used.served > before
    with arena.planned(step, False) as used:
        used.step(True)
    (kept,) = step.kept
    step.kept.clear()
    with arena.planned(step, False) as used:  # another arena is another block
        assert used.step(False).item() == 11 * 1000 - 1000
        assert used.left == 0 and used.served > 0
        assert torch.equal(kept, torch.full((1000,), 8.0))  # still there after its arena was closed
        del kept
        assert used.step(False).item() == 12 * 1000 - 1000
        assert used.left == 0


def _mapped() -> int:
    """Bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096


@needs_ledger
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what is mapped")
def test_the_memory_of_a_closed_arena_goes_with_the_last_tensor_in_it():
    size, kept = 64 * 2**20, []

    def step(keep: bool) -> torch.Tensor:
        large = torch.zeros(size // 4)
        if keep:
            kept.append(large)
        return large[0].clone()

    with arena.planned(step, False) as used:
        used.step(True)
    before = _mapped()
    with arena.planned(step, False):
        assert _mapped() >= before + size
        kept.clear()
        assert _mapped() < before + size
    assert _mapped() < before


@needs_ledger
def test_a_refused_allocation_leaves_the_arena_usable():
    step = CASES["bert"].step(CASES["bert"].attached(weights=False))
    batch = CASES["bert"].example()
    with arena.planned(step, batch) as used:
        with ledger.counting(used.max_live // 2), pytest.raises(torch.OutOfMemoryError):
            used.step(batch)
        step.model.zero_grad(set_to_none=True)
        left = used.left
        used.step(batch)
        assert used.left == left


@needs_ledger
def test_arenas_do_not_nest():
    step = _Keeping()
    with arena.planned(step), pytest.raises(ResourceMissing), arena.planned(step):
        pass


def test_placed_tensors_never_overlap_while_both_live():
    rng = np.random.default_rng(0)
    for _ in range(30):
        count = int(rng.integers(1, 80))
        sizes = rng.integers(1, 5000, count)
        starts = rng.permutation(2 * count)[:count]
        ends = starts + rng.integers(1, count + 2, count)
        offsets, _ = place(sizes, starts, ends)
        assert (offsets % ALIGNMENT == 0).all()
        for i in range(count):
            for j in range(i):
                together = starts[i] < ends[j] and starts[j] < ends[i]
                apart = offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
                assert apart or not together
        assert (offsets + sizes).max() >= largest_sum(sizes, starts, ends)


def test_large_tensors_are_packed_where_no_order_of_a_greedy_placement_serves():
    """Blocks of a transformer without a backward pass: what a block returns has to lie where the next one leaves room.

    Each block holds two wide tensors beside its own input and the one that becomes the input of the next.
    """
    sizes, starts, ends = [], [], []

    def live(size, start, end):
        sizes.append(size * 1024)
        starts.append(start)
        ends.append(end)

    for block in range(8):
        at = 20 * block
        live(6, at, at + 28)  # the input of the block, until the next one has read it
        live(6, at + 4, at + 16)
        live(24, at + 8, at + 12)
        live(24, at + 10, at + 16)
        live(6, at + 14, at + 18)
        live(1, at + 11, at + 13)
    arrays = [np.array(v, dtype=np.int64) for v in (sizes, starts, ends)]
    offsets, _ = place(*arrays)
    bound = largest_sum(*arrays)
    assert (offsets + arrays[0]).max() <= 1.005 * bound
    found = packed(*(v.tolist() for v in arrays), bound)
    assert found is not None and all(o + s <= bound for o, s in zip(found, sizes))
    assert packed([3, 3], [0, 0], [2, 2], 5) is None


@pytest.mark.parametrize("seed", range(3))
def test_small_tensors_share_one_gap_beside_packed_large_ones(seed):
    """The blocks above amid tensors of less than a kilobyte: spread over several gaps, these would raise the arena."""
    chance, lives = random.Random(seed), []
    for at in range(0, 160, 20):
        for size, begin, end in ((6, 0, 28), (6, 4, 16), (24, 8, 12), (24, 10, 16), (6, 14, 18)):
            lives.append((size * 200 * 64, at + begin, at + end))
        for begin in (at + chance.randrange(20) for _ in range(12)):
            lives.append((64 * chance.randrange(1, 12), begin, begin + chance.randrange(1, 60)))
    arrays = [np.array(v, dtype=np.int64) for v in zip(*lives, strict=True)]
    offsets, order = place(*arrays)
    assert order == "packed" and (offsets + arrays[0]).max() <= 1.005 * largest_sum(*arrays)


def test_plan_leaves_out_what_escapes_and_what_is_older():
    plan = plan_of([(100, 1), (-50, 9), (200, 2), (-100, 1), (300, 1), (-300, 1)])
    assert plan.sizes == (100, 200, 300)
    assert plan.events == (0, 1, ~0, 2, ~2)
    assert plan.offsets == (0, -1, 0)
    assert (plan.size, plan.max_live, plan.escaping) == (320, 300, 1)


@needs_ledger
def test_a_session_trains_the_same_in_an_arena_and_its_record_says_how_it_went():
    from workbench.core.schedule import Schedule
    from workbench.session import Session, run
    from workbench.tasks.base import Sizes

    case = Case("tokens", "tiny-bert", "full", 4, 16)
    runs = {}
    for served in (False, True):
        session = Session(case, 0, None, Schedule(steps=11), Sizes(train=64, test=16), arena=served)
        runs[served] = run(session, predict=False), session.model.state_dict()
    (plain, weights), (record, planned) = runs[False], runs[True]
    assert [s.loss for s in record.steps] == [s.loss for s in plain.steps]
    assert [s.peak for s in record.steps[3:]] == [s.peak for s in plain.steps[3:]]
    assert all(torch.equal(weights[name], planned[name]) for name in weights)
    assert record.score == plain.score
    # Steps 0, 4 and 8 carry instruments, 1 is the warm one, 2 is recorded.
    assert {n: record.arena[n] for n in ("planned_steps", "left", "misses")} == {
        "planned_steps": 6, "left": 0, "misses": 0
    }  # fmt: skip
    assert record.arena["max_live"] <= record.arena["size"] <= 1.005 * record.arena["max_live"]
    assert record.arena["served"] > 6 * 100
    assert plain.arena == {}
    assert type(record).from_dict(record.to_dict()) == record
