"""Arms of one float model: the same start, calibration, rates by training loss, refusals; and their picture."""

from __future__ import annotations

import json

import pytest
import torch

import workbench as wb
from workbench import figures
from workbench.core.errors import BadInput, UnknownName
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.lens.code_flips import Flips, layers
from workbench.studies import few_bits as study
from workbench.studies.quantized_arms import (
    Outcome,
    calibrate,
    float_model,
    held_out_loss,
    outcome,
    quantized_arms,
    quantized_session,
)


@pytest.fixture(scope="module")
def bench():
    return wb.open("docstring-topic", "tiny-bert", budget="64 GiB", batch=4, train=16, test=8)


@pytest.fixture(scope="module")
def start(bench):
    return float_model(bench, 0, 2, 1e-3)


def test_sixteen_bits_are_the_float_model_and_the_transform_leaves_it(bench, start):
    wide = {"weight_bits": 16, "activation_bits": 16, "scales": "moving"}
    losses = []
    for settings in (wide, {**wide, "transform": True}):
        session = quantized_session(bench, start, 0, 1, **settings)
        if settings.get("transform"):
            calibrate(session, "transform")
            assert any(bool((layer.smooth != 1).any()) for layer in layers(session.model))
        losses.append(held_out_loss(session))
    case = bench.case("full")
    model = case.spec.build(case.task.classes(case.spec), device="cpu", weights=False, seed=0)
    model.load_state_dict(start)
    model.eval()
    session.model = model
    assert losses == pytest.approx([held_out_loss(session)] * 2, abs=1e-4)


def test_gptq_moves_weights_onto_the_grid_they_were_given(bench, start):
    session = quantized_session(bench, start, 0, 1, weight_bits=3, scales="fixed")
    before = [layer.codes() for layer in layers(session.model)]
    calibrate(session, "gptq")
    changed = [layer.codes() for layer in layers(session.model)]
    assert any(not torch.equal(a, b) for a, b in zip(before, changed))
    for layer in layers(session.model):
        values = (layer.codes().float() - layer.zero[:, None]) * layer.scale[:, None]
        torch.testing.assert_close(layer.weight.detach(), values)
    with pytest.raises(UnknownName):
        calibrate(session, "gptqq")


def test_arms_start_alike_and_the_best_rate_is_that_of_the_training_loss(bench, start):
    rates = {"ZeroQAT": (1e-4, 1.0)}
    arms = ("round to nearest", "ZeroQAT", "ZeroQAT light")
    found = quantized_arms(
        bench, dict.fromkeys((0, 1), start), (2,), 4, arms=arms, rates={**rates, "ZeroQAT light": (1e-4,)}, light=1
    )
    by_arm = {name: [o for o in found if o.arm == name] for name in arms}
    assert [len(runs) for runs in by_arm.values()] == [1, 2, 2]
    assert {o.lr for o in by_arm["ZeroQAT"]} == {1e-4}, "a rate of 1 leads away"
    assert [o.predicted for o in found if o.predicted] == [r[0].profile.peak for r in list(by_arm.values())[1:]]
    assert by_arm["ZeroQAT light"][0].profile.peak < by_arm["ZeroQAT"][0].profile.peak
    assert by_arm["ZeroQAT"][0].profile.saved == 0
    again, _ = outcome(bench, "ZeroQAT", 2, 0, start, 4, 1e-4)
    assert again.loss == by_arm["ZeroQAT"][0].loss
    flips = [(2, Flips(eps, 2, 10, share, 0.0, 1.0, 0.5, 0.9)) for eps, share in ((1e-3, 0.01), (1e-2, 0.1))]
    info = figures.few_bits(found, 1.0, flips)
    assert to_svg(info) == to_svg(info)
    assert len(to_plotly(info).data) == 3
    assert json.loads(json.dumps(info.data(), allow_nan=False))
    assert len(figures.few_bits_table(found).rows) == 3
    assert "ZeroQAT light" in figures.few_bits_answer(found)
    assert figures.flips_table([("2 bits", flips[0][1])]).rows[0]["flipped"] == "1.000%"


def test_nothing_quantized_is_drawn_as_such():
    assert to_svg(figures.few_bits([]))
    to_plotly(figures.few_bits([]))
    assert figures.few_bits_answer([]) == "Nothing was quantized."


def test_bad_questions_are_refused(bench, start):
    with pytest.raises(UnknownName):
        outcome(bench, "ZeroQATT", 2, 0, start, 4, 1e-4)
    with pytest.raises(BadInput):
        quantized_arms(bench, {}, (2,), 4)
    with pytest.raises(UnknownName):
        study.preset("quik")


def test_more_arms_than_colours_are_still_told_apart():
    found = [Outcome(f"arm {i}", 2, 0, 0.0, 0.5, 0.7, None, None, None) for i in range(12)]
    lines = figures.few_bits(found).lines
    assert len({(line.colour, line.marker) for line in lines}) == 12
