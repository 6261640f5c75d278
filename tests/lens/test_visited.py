"""What is counted layer by layer is what runs."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb
from workbench.core.errors import Incompatible
from workbench.figures import visited as picture
from workbench.lens.visited import visited, visits
from workbench.testing import Subject


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama", "tiny-cnn", "tiny-vit"])
@pytest.mark.parametrize("method", ["full", "sparse-update", "lora", "bias"])
def test_operations_are_those_that_a_real_step_does(method, model) -> None:
    subject = Subject(method, model)
    if subject.case.refusal() is not None:
        pytest.skip(subject.case.refusal())
    found = visits(subject.case)
    step = subject.case.step(subject.attached())
    with FlopCounterMode(display=False) as counter:
        step(subject.examples(), seed=0)
    assert found.total("forward_flops") + found.total("backward_flops") == counter.get_total_flops()


def test_calls_of_the_backward_pass_are_those_that_run() -> None:
    from workbench.devices.record import group_of

    class Calls(TorchDispatchMode):
        backward = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            inside = torch._C._current_graph_task_id() != -1
            self.backward += inside and group_of(func, "backward") != "view"
            return func(*args, **(kwargs or {}))

    subject = Subject("sparse-update", "tiny-bert")
    step = subject.case.step(subject.attached())
    step(subject.examples(), seed=0)
    with Calls() as calls:
        step(subject.examples(), seed=0)
    assert visits(subject.case).total("backward_calls") == calls.backward


def test_full_backward_is_twice_the_forward_and_a_sparse_one_stops() -> None:
    full, sparse = visits(Subject("full", "tiny-bert").case), visits(Subject("sparse-update", "tiny-bert").case)
    blocks = [v for v in full.layers if ".layer." in v.layer]
    assert all(v.backward_flops == 2 * v.forward_flops > 0 for v in blocks)
    below = next(v for v in sparse.layers if v.layer.endswith("layer.0"))
    assert (below.backward_flops, below.backward_calls, below.saved, below.trained) == (0, 0, 0, 0)
    embeddings = next(v for v in sparse.layers if "embeddings" in v.layer)
    assert embeddings.backward_calls == 0 and embeddings.parameters > 0


def test_forward_only_has_no_backward_and_counts_both_forwards() -> None:
    once = visits(Subject("full", "tiny-llama").case).total("forward_flops")
    forward_only = visits(Subject("mezo", "tiny-llama").case)
    assert forward_only.total("forward_flops") == 2 * once
    assert forward_only.total("backward_calls") == forward_only.total("saved") == 0


def test_the_picture_says_what_was_counted() -> None:
    bench = wb.open("tokens", "tiny-bert", batch=4, length=16)
    found = visited(bench, ["full", "lora r=4", "full"])
    info = picture(found)
    assert [way.label for way in info.ways] == ["full", "lora r=4"]
    assert sum(info.ways[0].backward_flops) == found[0].total("backward_flops")
    assert {row["way"] for row in info.rows()} == {"full", "lora r=4"}
    assert "full: backward 2.00 x forward" in info.alt


def test_a_way_that_does_not_serve_the_model_is_refused() -> None:
    bench = wb.open("tokens", "tiny-bert", batch=4, length=16)
    with pytest.raises(Incompatible, match="chunked loss"):
        visited(bench, ["full chunked_loss=8"])


def test_operations_by_phase_are_those_of_all_layers_and_take_no_second_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench import predictions

    case = Subject("sparse-update", "tiny-bert").case
    case.predict()
    monkeypatch.setattr(predictions, "traced_at", None)  # whoever traces again fails
    told = predictions.flops_by_phase(case)
    found = visits(case)
    assert told["forward"] == found.total("forward_flops") > 0
    assert told["backward"] == found.total("backward_flops") > 0 and told["update"] == 0
