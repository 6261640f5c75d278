"""Predicted memory equals measured memory to the byte, in total and in every part."""

from __future__ import annotations

import pytest
from memory_cases import CASES

from workbench import keys
from workbench.case import Case
from workbench.core.errors import ResourceMissing
from workbench.core.profile import Category, Phase, Tier
from workbench.memory import compiler, ledger
from workbench.memory.measure import measure
from workbench.memory.predict import predict

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")


@needs_ledger
@pytest.mark.parametrize("name", CASES)
def test_prediction_equals_measurement(name):
    case = CASES[name]
    measured = measure(case.make(case.build("cpu")), case.batch())
    predicted = predict(lambda: case.build("meta"), case.make, case.batch)
    assert (predicted.source, measured.source) == (Tier.PROBE, Tier.MEASURED)
    assert predicted.peak - measured.peak == 0
    assert predicted.by_category == measured.by_category
    assert predicted.by_phase == measured.by_phase
    assert predicted.by_module == measured.by_module
    assert predicted.saved_by_module == measured.saved_by_module
    assert (predicted.operator, predicted.module) == (measured.operator, measured.module)
    assert "(workspace not attributed)" not in measured.by_module
    assert not [a for a in measured.assumptions if "rose" in a]


@needs_ledger
def test_profile_is_consistent():
    case = CASES["full adamw"]
    profile = measure(case.make(case.build("cpu")), case.batch())
    assert sum(profile.by_category.values()) == profile.peak
    assert sum(profile.by_module.values()) == profile.peak
    assert max(m.total for m in profile.timeline) == profile.peak
    assert len(profile.timeline) <= 400
    assert set(profile.by_phase) == set(Phase)
    model = case.build("cpu")
    weights = sum(p.numel() * 4 for p in model.parameters())
    assert 0 <= profile.by_category[Category.WEIGHTS] - weights <= 64 * 16  # integer buffers
    assert profile.by_category[Category.OPTIMIZER] == 2 * weights + 4 * len(list(model.parameters()))


def test_fake_tier_is_close_on_transformers_and_says_so():
    case = CASES["full adamw"]
    exact = predict(lambda: case.build("meta"), case.make, case.batch, tier=Tier.FAKE)
    assert not exact.workspace_known
    if ledger.available():
        measured = measure(case.make(case.build("cpu")), case.batch())
        assert abs(exact.peak - measured.peak) <= 0.01 * measured.peak


@needs_ledger
@pytest.mark.parametrize("shape", [(8, 64, 64), (32, 64, 64), (128, 64, 64), (8, 256, 64), (1024, 384, 1536)])
def test_a_bfloat16_product_takes_what_its_formula_says(shape):
    import torch

    from workbench.memory.formula import inside_by_formula

    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("the formula was read off a processor with bfloat16 instructions")
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner).bfloat16(), torch.randn(columns, inner).bfloat16().t()
    torch.mm(left, right)
    with ledger.counting() as count:
        result = torch.mm(left, right)
        inside = count.peak - result.nbytes
    assert inside_by_formula(torch.ops.aten.mm.default, (left, right), {}, result)[0] == inside


def test_without_ledger_everything_works_and_says_so(monkeypatch):
    monkeypatch.setattr(ledger, "_library", lambda: "no C++ compiler was found")
    case = CASES["full sgd"]
    measured = measure(case.make(case.build("cpu")), case.batch())
    assert measured.source is Tier.TRACKED
    assert any("workspace not measured" in a for a in measured.assumptions)
    predicted = predict(lambda: case.build("meta"), case.make, case.batch)
    assert predicted.source is Tier.FORMULA
    assert predicted.peak == measured.peak


@needs_ledger
def test_a_prediction_without_a_compiler_is_not_kept_for_one_with_it(monkeypatch):
    case = Case("tokens", "tiny-bert", "head", 2, 9)
    with monkeypatch.context() as without:
        without.setattr(ledger, "_library", lambda: "no C++ compiler was found")
        without.setattr(keys, "compiler_at_hand", lambda: None)
        assert case.predict().source is Tier.FORMULA
    assert case.predict().source is Tier.PROBE


def test_a_compiler_that_is_named_and_not_there_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "/nonexistent -O2")
    assert compiler.compiler_at_hand.__wrapped__() is None
    monkeypatch.setattr(compiler, "compiler_at_hand", lambda: None)
    with pytest.raises(ResourceMissing, match="CXX names '/nonexistent -O2'"):
        compiler._compiler.__wrapped__()


def test_ties_are_kept_and_position_buffers_have_values():
    import torch

    from workbench.memory.swapped import swap

    model = swap(CASES["tied llama"].build("meta"))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    positions = swap(CASES["full sgd"].build("meta")).bert.embeddings.position_ids
    assert torch.equal(positions, torch.arange(64).expand(1, -1))


def test_a_batch_that_values_route_is_refused_in_a_sentence():
    from memory_cases import routed_loss

    from workbench.core.errors import Incompatible

    case = CASES["net adamw"]._replace(loss=routed_loss)
    with pytest.raises(Incompatible, match="depend on tensor values; measure it instead"):
        predict(lambda: case.build("meta"), case.make, case.batch, tier=Tier.FAKE)
    if ledger.available():
        assert measure(case.make(case.build("cpu")), case.batch()).peak > 0, "and it can be measured"


def test_value_dependent_step_is_refused():
    import torch
    from memory_cases import PlainStep

    from workbench.core.errors import Incompatible

    class Choosing(PlainStep):
        def __call__(self, batch):
            loss = self.loss(self.model, batch)
            if torch.isnan(loss):
                return loss
            return super().__call__(batch)

    case = CASES["full sgd"]._replace(step=Choosing)
    with pytest.raises(Incompatible, match="depend on tensor values"):
        predict(lambda: case.build("meta"), case.make, case.batch, tier=Tier.FAKE)
