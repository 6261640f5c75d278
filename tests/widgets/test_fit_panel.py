"""The explorer with a kernel: another model or task is predicted, a later choice wins, a bad one is said."""

from dataclasses import replace

import pytest

import widgets
import workbench as wb
from workbench.request import choices

METHODS = ("head", "bias")


@pytest.fixture(scope="module")
def panel():
    return widgets.FitExplorer(wb.open("tokens", "tiny-bert", batch=4, budget="64MiB"), METHODS)


def test_choices_are_the_models_that_serve_the_task():
    found = choices()
    assert "tiny-bert" in found["tokens"] and "tiny-cnn" not in found["tokens"] and "tiny-cnn" in found["digits"]


def test_another_task_and_model_are_predicted_and_said(panel):
    first = panel.figure
    assert (first.task, first.model) == ("tokens", "tiny-bert") and panel.info["choices"]
    said = []
    panel.observe(lambda change: said.append(change["new"]), "doing")
    panel._handle_custom_msg({"do": "choose", "task": "digits"}, [])
    figure = panel.wait(120)
    assert (figure.task, figure.model) == ("digits", wb.open("digits").model) == (panel.info["task"], panel.bench.model)
    assert figure.budget == first.budget and {m.method for m in figure.methods} == set(METHODS)
    assert any("Predicting" in words or "Waiting" in words for words in said)
    assert panel.doing == panel.problem == "" and panel.finished().choices == {}


def test_what_was_set_stays_when_another_model_is_chosen():
    bench = wb.open("tokens", "tiny-bert", batch=4, length=24, steps=7, train=40, budget="64MiB")
    panel = widgets.FitExplorer(bench, ("head",))
    panel.choose(model="tiny-llama")
    figure = panel.wait(120)
    assert (figure.model, figure.shape) == ("tiny-llama", (4, 24))
    same = replace(bench, model="tiny-llama", device=panel.bench.device)  # what is free here has changed meanwhile
    assert panel.bench == same, "the schedule, the examples and the store too"
    panel._handle_custom_msg(
        {"do": "choose", "task": "digits", "batch": 6, "length": 24, "budget": 2**20, "device": "raspberry-pi-4"}, []
    )
    figure = panel.wait(120)
    assert (figure.task, figure.shape[0], figure.budget, figure.device) == ("digits", 6, 2**20, "raspberry-pi-4")
    assert panel.bench.length is None, "pictures have no tokens"
    assert panel.bench.sizes.train != 40


def test_a_bad_name_is_a_sentence_and_what_was_shown_stays(panel):
    before = panel.figure
    panel._handle_custom_msg({"do": "choose", "task": before.task, "model": "tiny-bertt"}, [])
    assert panel.wait(60) is before
    assert "tiny-bert" in panel.problem and panel.doing == ""


def test_a_later_choice_ends_an_earlier_one(panel):
    panel.choose("tokens", "tiny-bert")
    panel.choose("digits", "tiny-cnn")
    figure = panel.wait(120)
    assert figure.model == panel.bench.model == "tiny-cnn" and panel.problem == ""
