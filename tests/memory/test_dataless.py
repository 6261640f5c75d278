"""Tensors without data, what is known of numbers, and questions about those that nobody knows."""

from __future__ import annotations

import copy
import mmap
import random
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_cases import CASES, PlainStep

from workbench.core.asleep import Asleep
from workbench.core.errors import Incompatible
from workbench.core.profile import Tier
from workbench.memory import shapes
from workbench.memory.answers import Answers
from workbench.memory.dataless import asked_about, dataless, known
from workbench.memory.fake import Dry, FakeRunner
from workbench.memory.measure import measure
from workbench.memory.outside import PYTHON
from workbench.memory.predict import predict
from workbench.memory.shapes import Shapes

aten = torch.ops.aten


def floats(*size):
    return FakeRunner().fake(torch.ones(size))


def test_a_tensor_without_data_has_size_and_views_and_no_numbers():
    tensor = dataless((10**5, 10**6), (10**6, 1), torch.float32)
    assert tensor.untyped_storage().nbytes() == 4 * 10**11
    assert (tensor.device.type, tensor.t().stride()) == ("cpu", (1, 10**6))
    assert not known(tensor)
    assert not known(tensor[3:, :2])
    with pytest.raises(RuntimeError):
        tensor.zero_()
    with pytest.raises(RuntimeError):
        tensor.numpy()


def test_numbers_that_are_listed_are_read():
    with asked_about(), Dry() as dry:
        assert floats(2, 1).tolist() == [[1.0], [1.0]]
        assert any("taken as 1.0" in a for a in dry.run.assumptions)
        assert torch.arange(3).tolist() == [0, 1, 2]
        with pytest.raises(Incompatible, match="reading an integer"):
            floats(2).argmax(0, keepdim=True).tolist()


def test_a_number_that_something_unknown_overwrote_is_not_read():
    run, counter, flag = FakeRunner(), torch.tensor(3), torch.ones(2, dtype=torch.int64)
    assert run(aten._local_scalar_dense.default, (counter,), {})[0] == 3
    run(aten.add_.Tensor, (counter, 1), {})
    assert run(aten._local_scalar_dense.default, (counter,), {})[0] == 4
    run(aten.copy_.default, (counter, floats(2)[0]), {})
    assert not known(counter)
    assert known(flag)
    with pytest.raises(Incompatible, match="reading an integer"):
        run(aten._local_scalar_dense.default, (counter,), {})


def test_results_lie_where_the_real_ones_do():
    run, source = FakeRunner(), floats(4, 6)
    part = source[2:]
    same = run(aten._unsafe_view.default, (part, [12]), {})[0]
    assert same.untyped_storage()._cdata == source.untyped_storage()._cdata
    assert same.storage_offset() == part.storage_offset() == 12
    other = run(aten._unsafe_view.default, (source[1:3], [12]), {})[0]
    assert other.storage_offset() == 6
    assert run(aten.mul_.Tensor, (source, 2.0), {})[0] is source
    values, places = run(aten.topk.default, (source, 2), {})[0]
    assert (values.shape, places.dtype) == ((4, 2), torch.int64)
    assert not known(places)
    grown = run(aten.add.out, (source, source), {"out": floats(0)})[0]
    assert (grown.shape, grown.untyped_storage().nbytes()) == ((4, 6), 96)


def test_what_an_operator_returns_is_asked_once_a_process(monkeypatch):
    asked, of = [], Shapes.of
    monkeypatch.setattr(shapes, "_FOUND", {})
    monkeypatch.setattr(Shapes, "of", lambda self, func, *rest: asked.append(func) or of(self, func, *rest))

    def in_a_fresh_run(dtype=torch.float32, alone=True):
        one = dataless((2, 3), (3, 1), dtype)
        other = dataless((2, 3), (3, 1), dtype) if alone else one
        return FakeRunner()(aten.add.Tensor, (one, other), {})[0]

    for given in ({}, {}, {"dtype": torch.float64}, {"alone": False}):
        made = in_a_fresh_run(**given)
        assert (made.shape, made.dtype) == ((2, 3), given.get("dtype", torch.float32)) and not known(made)
    assert len(asked) == 3  # the second run was told by the first; another format or sharing is another question
    grown = dataless((2, 3), (3, 1), torch.float32)
    FakeRunner()(aten.resize_.default, (grown, [4, 5]), {})
    FakeRunner()(aten.resize_.default, (dataless((2, 3), (3, 1), torch.float32), [4, 5]), {})
    assert grown.shape == (4, 5) and len(asked) == 5  # how far a storage grows depends on how large it was


def test_entries_of_sparse_tensors_are_known_and_their_values_are_not():
    run, values = FakeRunner(), floats(3)
    places = torch.tensor([[0, 1, 1], [2, 0, 0]])
    make = aten._sparse_coo_tensor_with_dims_and_tensors.default
    kwargs = {"dtype": torch.float32, "layout": torch.sparse_coo, "device": torch.device("cpu")}
    made = run(make, (2, 0, [2, 3], places, values), kwargs)[0]
    assert made._values().untyped_storage()._cdata == values.untyped_storage()._cdata
    merged = run(aten._coalesce.default, (made,), {})[0]
    assert (merged._nnz(), merged.is_coalesced()) == (2, True)
    assert merged._indices().tolist() == [[0, 1], [2, 0]]
    assert not known(merged._values())
    with pytest.raises(Incompatible, match="tensor values"):
        run(aten._to_sparse.default, (floats(2, 2),), {})


def stepping(check):
    class Checking(PlainStep):
        def __call__(self, batch):
            loss = super().__call__(batch)
            check(self, loss)
            return loss

    return CASES["full sgd"]._replace(step=Checking)


def ask(case):
    return predict(lambda: case.build("meta"), case.make, case.batch, tier=Tier.FAKE)


def no_check(step, loss):
    pass


def stops_if_infinite(step, loss):
    if step.parameters[0].isinf().any():
        raise FloatingPointError("infinite")


def stops_unless_finite(step, loss):
    if not torch.isfinite(loss):
        raise FloatingPointError("not finite")


def tells_if_infinite(step, loss):
    step.told = bool(loss.isinf())


@pytest.mark.parametrize("check", [stops_if_infinite, stops_unless_finite, tells_if_infinite])
def test_a_question_with_one_answer_that_goes_on_is_answered(check):
    found = ask(stepping(check))
    assert any("asks for a truth value" in a for a in found.assumptions)
    assert found.peak == ask(stepping(no_check)).peak


def reads_a_number(step, loss):
    step.told = float(loss)


def divides_by_a_number(step, loss):
    step.told = (1 - float(loss)) ** 0.5 / float(loss)


@pytest.mark.parametrize("check", [reads_a_number, divides_by_a_number])
def test_a_number_that_is_read_may_be_any(check):
    found = ask(stepping(check))
    assert any("taken as 1.0" in a for a in found.assumptions)
    assert found.peak == ask(stepping(no_check)).peak


@pytest.mark.parametrize(
    "takes_more",
    [lambda x: x > 0.9, lambda x: x > 9, lambda x: x < 0.3, lambda x: x != 1.0, lambda x: x < 0],
    ids=["high", "very high", "low", "other", "negative"],
)
def test_a_number_that_decides_what_is_allocated_is_refused(takes_more):
    def by_number(step, loss):
        if takes_more(float(loss)):
            step.model.kept = [torch.zeros(10**7), loss]

    with pytest.raises(Incompatible, match="depend on tensor values"):
        ask(stepping(by_number))


def uses_numpy(step, loss):
    torch.from_numpy(np.ones(10**6, dtype=np.float32)).add_(1)


def test_memory_of_others_has_a_line_of_its_own():
    plain, found = ask(stepping(no_check)), ask(stepping(uses_numpy))
    assert found.peak == plain.peak and dict(found.by_category) == dict(plain.by_category)
    assert list(found.outside.values()) == [4 * 10**6] and not plain.outside
    case = stepping(uses_numpy)
    measured = measure(case.make(case.build("cpu")), case.batch())
    assert measured.outside == found.outside


def test_who_reads_a_number_is_seen_behind_a_function_that_the_sleeping_compiler_leaves_alone(monkeypatch):
    asleep, answers = Asleep("torch._dynamo"), Answers()
    monkeypatch.setitem(sys.modules, "torch._dynamo", asleep)
    assert asleep.disable(Answers.read)(answers) == 1.0
    assert answers.numbers_read


def _mapped():
    made = mmap.mmap(-1, 4 << 20)
    made.write(b"1" * (4 << 20))


BESIDE = {"numpy": lambda: np.ones(1 << 19), "bytes": lambda: bytearray(4 << 20), "mmap": _mapped}


@pytest.mark.parametrize("name", BESIDE)
def test_memory_that_torch_never_touches_has_a_line_too(name):
    case = stepping(lambda step, loss: BESIDE[name]())
    step = case.make(case.build("cpu"))
    measured = measure(step, case.batch(), others=True)
    assert 4 << 20 <= measured.outside[PYTHON] < 4.5 * (1 << 20)
    case = stepping(no_check)
    step = case.make(case.build("cpu"))
    assert not measure(step, case.batch(), others=True).outside
    step.parts = SimpleNamespace(history=[np.ones(1 << 19)])
    assert 4 << 20 <= measure(step, case.batch(), others=True).outside[PYTHON] < 4.5 * (1 << 20)
    assert not tracemalloc.is_tracing()


def copies_weights(step, loss):
    step.model.kept = [copy.deepcopy(p.detach()) for p in step.model.parameters()]


def test_a_deep_copy_is_predicted_and_counted():
    """Its memory comes from torch's default allocator and past the dispatcher."""
    case, found = stepping(copies_weights), ask(stepping(copies_weights))
    measured = measure(case.make(case.build("cpu")), case.batch())
    assert (found.peak, found.by_category) == (measured.peak, measured.by_category)
    assert found.peak > ask(stepping(no_check)).peak


def test_a_later_step_that_takes_more_is_measured_and_said():
    calls: list[int] = []

    def takes_more(step, loss):
        calls.append(1)
        if len(calls) > 2:
            step.model.kept = [torch.zeros(10**6)]

    case = stepping(takes_more)
    measured = measure(case.make(case.build("cpu")), case.batch())
    assert measured.peak >= ask(stepping(no_check)).peak + 4 * 10**6
    assert len(measured.remarks) == 1 and "steps differ" in measured.remarks[0]
    steady = stepping(no_check)
    assert not measure(steady.make(steady.build("cpu")), steady.batch()).remarks


def drops_at_random(share):
    def step_with(step, loss):
        if torch.rand([]) > share:  # as layers of peft ask, whose share is nought by default
            step.model.kept = [torch.zeros(10**6), loss]

    return step_with


def test_what_is_dropped_at_random_is_predicted_as_kept_and_said():
    always, sometimes = ask(stepping(drops_at_random(0.0))), ask(stepping(drops_at_random(0.999)))
    assert sometimes.peak == always.peak >= ask(stepping(no_check)).peak + 4 * 10**6
    assert any("drawn at random" in a for a in sometimes.assumptions)
    assert not any("drawn at random" in a for a in always.assumptions)


def goes_another_way(step, loss):
    if loss.isinf():
        step.model.kept = [torch.zeros(10**7), loss]


def stops_later(step, loss):
    if loss.isinf():
        raise FloatingPointError(str(torch.ones(3) * 2))


def stops_either_way(step, loss):
    raise FloatingPointError("infinite" if loss.isinf() else "not infinite")


def never_ends(step, loss):
    while not loss.isinf():
        pass


@pytest.mark.parametrize("check", [goes_another_way, stops_later, never_ends])
def test_a_question_whose_answers_differ_is_refused(check):
    with pytest.raises(Incompatible, match="tensor values"):
        ask(stepping(check))


def test_an_error_of_the_step_itself_is_told():
    with pytest.raises(FloatingPointError):
        ask(stepping(stops_either_way))


def test_a_tape_copies_only_whole_numbers_that_are_known():
    """Packed weights of a model without any would be copied by the gigabyte otherwise."""
    from workbench.devices.tape import Tape

    tape, packed, ids = Tape(), dataless((4096,), (1,), torch.uint8), torch.arange(8)
    tape.add(torch.ops.aten.add.Tensor, (packed, 1), {}, None, "forward", 0)
    tape.add(torch.ops.aten.add.Tensor, (ids, 1), {}, None, "forward", 0)
    unknown, known = tape.program.given
    assert unknown.values is None and torch.equal(known.values, ids)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: random.randrange(1, 10**6),
        lambda: np.random.randint(1, 10**6),
        lambda: int(torch.randint(1, 10**6, ())),
    ],
)
def test_sizes_drawn_at_random_are_said_whoever_draws_them(draw):
    def sized(step, loss):
        step.model.kept = torch.zeros(10**7 + draw())

    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    before = random.getstate(), torch.get_rng_state()
    profile = ask(stepping(sized))
    assert [r for r in profile.remarks if r.startswith("numbers drawn at random decide")]
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


def test_numbers_drawn_at_random_that_change_no_byte_are_not_said():
    def shuffled(step, loss):
        step.model.kept = torch.zeros(16)[torch.randperm(16)]
        random.random()

    assert not ask(stepping(shuffled)).remarks
