"""A searched scheme fits its budget by a full prediction, beats dumb choices, and its bytes are those of the step."""

import itertools

import numpy as np
import pytest

import workbench as wb
from workbench.core.errors import BadInput, Incompatible
from workbench.engine.capture import capture
from workbench.engine.needs import needs
from workbench.engine.prune import prune
from workbench.engine.schedule import saved_bytes, schedule
from workbench.studies.scheme_search import search_scheme, sensitivities
from workbench.testing import Subject


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    return wb.open("digits", "tiny-cnn", budget="1GiB", profile="quick", train=64, test=32, batch=32)


def _joint(subject):
    case = subject.case
    return prune(capture(case.attached(device="meta", weights=False), case.task.loss, case.example()[0]))


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama"])
def test_needs_of_one_capture_are_the_saved_bytes_of_every_scheme(model) -> None:
    """The union of what the gradients of full tuning need is what a scheme's own graph keeps."""
    needed = needs(_joint(Subject("full", model)))
    for settings in ({"weight_blocks": 1}, {"bias_blocks": 1, "weight_blocks": 3}, {"roles": "projection"}):
        scheme = Subject("sparse-update", model, settings)
        joint = _joint(scheme)
        assert needed.saved(joint.gradients) == pytest.approx(saved_bytes(schedule(joint, in_place=False)), rel=0.02)


def test_no_gradient_needs_nothing() -> None:
    assert needs(_joint(Subject("full", "tiny-cnn"))).saved([]) == 0


def test_the_scheme_fits_and_more_budget_never_buys_less(bench) -> None:
    head, full = (bench.case(m).predict().peak for m in ("head", "full"))
    shares = []
    for part in (0.35, 0.7):
        from dataclasses import replace

        tight = replace(bench, budget=int(head + part * (full - head)))
        found = search_scheme(tight, trials=60, batches=2)
        assert found.predicted.peak <= tight.budget
        assert (
            found.predicted.peak == tight.case("sparse-update", executor="graph", tensors=found.tensors).predict().peak
        )
        shares.append(found.share)
    assert 0 < shares[0] <= shares[1] <= 1


def test_search_is_as_good_as_trying_everything(bench) -> None:
    """On a few candidates every subset can be judged by its full prediction."""
    from dataclasses import replace

    from workbench.studies import scheme_search

    head, full = (bench.case(m).predict().peak for m in ("head", "full"))
    tight = replace(bench, budget=int(head + 0.5 * (full - head)))
    whole = search_scheme(tight, trials=80, batches=2)
    few = sorted(whole.candidates, key=lambda c: -c.sensitivity)[:5]
    best = 0.0
    for size in range(len(few) + 1):
        for subset in itertools.combinations(few, size):
            names = ",".join(t for c in subset for t in c.tensors)
            peak = tight.case("sparse-update", executor="graph", tensors=names).predict().peak if names else head
            if peak <= tight.budget:
                best = max(best, sum(c.sensitivity for c in subset))
    total = sum(c.sensitivity for c in whole.candidates)
    assert whole.share * total >= 0.95 * best
    assert scheme_search.METHOD == "sparse-update"


def test_sensitivity_is_the_sum_of_absolute_gradients(bench) -> None:
    found = sensitivities(bench, batches=1, warm=0)
    again = sensitivities(bench, batches=1, warm=0)
    assert found == again and all(np.isfinite(v) and v >= 0 for v in found.values())
    assert found["classifier.weight"] > 0


def test_a_budget_below_the_head_names_the_shortfall(bench) -> None:
    from dataclasses import replace

    with pytest.raises(Incompatible, match="smallest scheme needs"):
        search_scheme(replace(bench, budget=2**16), trials=5)
    with pytest.raises(BadInput, match="trials"):
        search_scheme(bench, trials=0)
