"""The table answers shapes it never saw exactly, at once, without torch, and refuses where its check missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from workbench import figures
from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import Tier
from workbench.devices.model import HOST
from workbench.devices.record import CLASSES
from workbench.plan.fit_table import FitTable, _Shares, fit, fit_table
from workbench.plan.fitting import sizes_of
from workbench.plan.sizes import divisors
from workbench.plan.verdict import on_device

METHODS = ("full", "head", "mezo", "p-tuning", "whimsical", "prefix-tuning")


@pytest.fixture(scope="module")
def table(board, whimsical):
    cases = [Case("tokens", "tiny-bert", m, 8, 16) for m in METHODS]
    return fit_table(cases, board, tier=Tier.FAKE)


def test_new_shapes_are_exact_in_memory_and_work(table):
    for batch, length in ((8, 16), (3, 12), (20, 40)):
        for line in table.at(2**30, batch, length):
            if line.peak is None:
                continue
            case = Case("tokens", "tiny-bert", line.method, batch, length)
            truth = case.predict(Tier.FAKE)
            assert line.peak == truth.peak
            assert dict(line.by_category) == dict(truth.by_category)
            assert line.binding == truth.binding_category
            assert line.step_time.value == pytest.approx(on_device(case, table.device)[0].value, rel=0.02)
            assert line.step_time.kind == "extrapolated"
            assert line.source.startswith("predicted" if (batch, length) == (8, 16) else "fitted")


def test_batch_one_is_said_to_be_a_little_high(table):
    """Copies of tensors that are one long somewhere are skipped, so that batch 1 may need less than the fit says."""
    for line in table.at(2**30, 1, 16):
        if line.peak is not None:
            truth = Case("tokens", "tiny-bert", line.method, 1, 16).predict(Tier.FAKE).peak
            assert truth <= line.peak <= 1.01 * truth
            assert "batch 1" in line.source


def test_the_budget_decides_the_verdict(table):
    peaks = {line.method: line.peak for line in table.at(2**30)}
    lines = {line.method: line for line in table.at(peaks["full"] - 1)}
    assert "1 B over" in lines["full"].reason and lines["full"].layer
    assert lines["head"].fits == "fits"
    assert lines["whimsical"].fits == "not predicted" and lines["prefix-tuning"].fits == "does not apply"


def test_fits_if_names_a_batch_that_really_fits_with_as_many_examples(table):
    budget = {line.method: line.peak for line in table.at(2**30)}["full"] - 1
    full = {line.method: line for line in table.at(budget)}["full"]
    [change] = full.changes
    assert full.fits == "fits if" and change.source == "fitted"
    batch, times = (int(word) for word in change.sentence.split() if word.isdigit())
    assert batch * times == 8 and times > 1
    truth = Case("tokens", "tiny-bert", "full", batch, 16, accumulate=times).predict(Tier.FAKE).peak
    assert truth <= change.peak <= min(budget, 1.03 * truth)
    assert {line.method: line for line in table.at(1000)}["full"].fits == "does not fit"


def test_a_smaller_batch_keeps_the_examples_of_a_step(table):
    sizes = table.methods["full"]
    assert divisors(12) == [6, 4, 3, 2, 1] and divisors(7) == [1] and divisors(1) == []
    fits_ten = sizes.accumulated_peak(10, 16, 2)
    assert sizes.accumulated_peak(8, 16, 2) <= fits_ten < sum(sizes.peak(16, 16)[1].values())
    assert sizes.largest_batch(fits_ten, 16, 16) == 8 and sizes.largest_batch(1000, 16, 16) is None


def test_impossible_batches_and_lengths_are_refused_as_a_prediction_refuses_them(table):
    for length in (3, 5000):
        with pytest.raises(BadInput) as asked:
            table.at(2**30, 8, length)
        with pytest.raises(BadInput) as predicted:
            Case("tokens", "tiny-bert", "full", 8, length).predict(Tier.FAKE)
        assert str(asked.value) == str(predicted.value)
    for batch in (0, -3, 2.5, 10**6 + 1):
        with pytest.raises(BadInput, match=r"batch.*1 to 1000000"):
            table.at(2**30, batch)
    assert FitTable.from_dict(json.loads(json.dumps(table.to_dict()))).limits == table.limits


def test_what_the_device_itself_needs_stands_beside_its_emulation(board):
    cases = [Case("digits", "mcu-net", name, 1) for name in ("head", "int8-training")]
    own, head = cases[1].device_bytes(), cases[1].device_bytes(least=True)
    emulated = cases[1].predict(Tier.FAKE).peak
    assert head < own < emulated
    found = fit(cases, board, own, tier=Tier.FAKE)
    lines = {v.method: v for v in found}
    assert lines["int8-training"].fits == "fits if" and "which is within the budget" in lines["int8-training"].summary
    assert [(c.peak, c.source) for c in lines["int8-training"].changes] == [(own, "planned")]
    assert lines["int8-training"].to_dict()["on_device"]["own"] == own
    assert "on the device itself, one example a step: int8-training" in found.sentence
    shown = figures.fit_table(found.table, head, found)
    (row,) = (m for m in shown.methods if m.method == "int8-training")
    assert row.ways[0][1:] == (own, "planned") and "device itself" not in shown.alt, "the reader moves the budget"
    assert figures.fit_table(found.table, own).alt.endswith("On the device itself: int8-training.")
    assert lines["head"].need is None and "device" not in lines["head"].summary
    kept = FitTable.from_dict(json.loads(json.dumps(found.table.to_dict())))
    (short,) = (v for v in kept.at(head - 1) if v.method == "int8-training")
    assert "the head alone over the int8 forward pass needs" in short.note and "1 B more than the budget" in short.note


def test_batches_of_images_are_exact_on_both_sides_of_a_change_of_kernels(board):
    found = fit_table([Case("digits", "tiny-cnn", name, 16) for name in ("bias", "full")], board)
    assert all(line.peak is not None for line in found.at(2**30)), "its own shape is always answered"
    sizes = found.methods["bias"]
    assert not sizes.reason
    for batch in (4, 15, 16, 21):
        truth = Case("digits", "tiny-cnn", "bias", batch).predict()
        assert sum(sizes.peak(batch, 1)[1].values()) == truth.peak


def test_settings_are_changed_where_no_batch_is_small_enough(board):
    case = Case("tokens", "tiny-bert", "full", 1, 16)
    budget = int(case.predict(Tier.FAKE).peak * 0.9)
    [found] = fit([case], board, budget, tier=Tier.FAKE, patience=600)
    assert found.fits == "fits if"
    assert all(c.case.predict(Tier.FAKE).peak == c.peak <= budget for c in found.changes)
    [hurried] = fit([case], board, budget // 3, tier=Tier.FAKE, patience=0)
    assert hurried.fits == "does not fit" and "no time was left to look for ways out" in hurried.reason


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_smaller_batch_is_fitted_at_first_and_predicted_as_time_allows(board, method, tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    case = Case("tokens", "tiny-bert", method, 8, 16)
    budget = int(case.predict(Tier.FAKE).peak * 0.9)
    [hurried] = fit([case], board, budget, tier=Tier.FAKE, patience=0)
    (change,) = hurried.changes
    assert (hurried.fits, change.source) == ("fits if", "fitted")
    assert change.options.startswith("--batch ") and "--accumulate" in change.options
    [whole] = fit([case], board, budget, tier=Tier.FAKE, patience=600)
    assert whole.fits == "fits if" and {c.source for c in whole.changes} == {"predicted"}
    assert all(c.case.predict(Tier.FAKE).peak == c.peak <= budget for c in whole.changes)
    assert whole.changes[0].sentence == change.sentence and whole.changes[0].peak <= change.peak


def test_every_search_may_begin_one_prediction_though_one_before_it_took_all_its_time(monkeypatch):
    now = [0.0]
    for module in ("fit_table", "ways"):
        monkeypatch.setattr(f"workbench.plan.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    shares = _Shares(12.0, urgent=3, count=5)
    first, second, third = shares.next(), shares.next(), shares.next()
    assert [p.seconds for p in (first, second, third)] == [4.0, 6.0, 12.0], "what nobody took is the next one's"
    now[0] = 10.0
    assert [shares.next().seconds, shares.next().seconds] == [1.0, 2.0], "those that have a way out come last"
    now[0] = 13.0
    assert not shares.next().left()


def test_a_second_process_is_started_only_for_what_is_not_known(board, tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    cases = [Case("tokens", "tiny-bert", name, 1, 16) for name in ("full", "bias")]
    begun = []

    def cannot_start(words, **_):
        begun.extend(word for word in words if word == "workbench.plan.ahead")
        raise OSError

    monkeypatch.setattr(subprocess, "Popen", cannot_start)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    first = fit(cases, board, 10_000, tier=Tier.FAKE)
    assert len(begun) == 1 and {one.fits for one in first} == {"cannot"}
    assert fit(cases, board, 10_000, tier=Tier.FAKE) == first and len(begun) == 1


def test_step_times_of_this_host_are_never_mixed_with_extrapolated_ones(board, tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    monkeypatch.setattr("workbench.devices.step_time.overheads", lambda: dict.fromkeys(CLASSES, 0.0))
    monkeypatch.setattr("workbench.devices.step_time.calibrated_pace", lambda: 1e-3)
    host = replace(board, name=HOST, calibrated=True)
    head, full = cases = [Case("tokens", "tiny-bert", name, 2, 16) for name in ("head", "full")]

    def kinds(cases, **asked):
        return {one.step_time.kind for one in fit_table(cases, host, tier=Tier.FAKE, **asked).at(2**30)}

    assert kinds(cases) == {"extrapolated"}
    assert kinds([head], step_times=True) == {"predicted"} == kinds([head])
    assert kinds(cases) == {"extrapolated"}
    assert kinds(cases, step_times=True) == {"predicted"} == kinds(cases)
    assert fit([full], host, 2**30, tier=Tier.FAKE)[0].step_time.value > 0


def test_what_could_not_be_fitted_is_answered_at_its_own_shape_alone(table):
    alone = replace(table.methods["full"], reason="the operators of this step change")
    missed = replace(table, methods={"full": alone}, refused={})
    assert missed.at(2**30)[0].peak == sum(table.methods["full"].peak(8, 16)[1].values())
    line = missed.at(2**30, 3, 12)[0]
    assert line.peak is None and line.fits == "not predicted" and "operators" in line.reason


def test_operators_that_change_with_the_shape_are_noticed():
    sizes = sizes_of(Case("tokens", "tiny-llama", "full", 4, 64, settings={"chunked_loss": 64}), Tier.FAKE)
    assert "operators" in sizes.reason
    assert sum(sizes.peak(4, 64)[1].values()) > 0
    with pytest.raises(Incompatible, match="predict this shape"):
        sizes.peak(2, 64)


def test_any_change_takes_less_than_50_ms_for_as_many_methods_as_there_are(table):
    many = replace(
        table,
        methods={f"full {i}": table.methods["full"] for i in range(60)},
        families={f"full {i}": "full" for i in range(60)} | dict(table.families),
    )
    many.at(2**23)
    taken = []
    for batch in range(2, 7):
        start = time.thread_time()
        many.at(2**23, batch, 20)
        taken.append(time.thread_time() - start)
    assert min(taken) < 0.05


def test_it_travels_as_json_and_answers_without_torch(table, tmp_path):
    file = tmp_path / "table.json"
    file.write_text(json.dumps(table.to_dict()))
    assert FitTable.from_dict(json.loads(file.read_text())).at(2**23, 5, 20) == table.at(2**23, 5, 20)
    code = (
        "import json, sys; from workbench.plan.fit_table import FitTable;"
        f"t = FitTable.from_dict(json.load(open({str(file)!r}))); print(len(t.at(2**23, 5, 20)));"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(METHODS)
