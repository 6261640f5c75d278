"""The ledger of errors holds the pairs of runs and of measurements, and only those that should agree to the byte."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from workbench import figures
from workbench.core.errors import UnknownName
from workbench.core.profile import Category, MemoryProfile, Phase, Tier
from workbench.records import measurements

CASE = {"task": "tokens", "model": "tiny-bert", "method": "full", "batch": 4, "length": 16, "config": {"lr": 0.1}}
PREDICTED = MemoryProfile(Tier.PROBE, 100, Phase.FORWARD, "addmm", "encoder", {Category.WEIGHTS: 100})
MEASURED = replace(PREDICTED, source=Tier.MEASURED, peak=104, by_category={Category.WEIGHTS: 104}, remarks=("odd",))


_numbers = itertools.count()


def kept(*pair) -> str:
    """Keep a pair, or say why it was not."""
    number = next(_numbers)
    return measurements.keep(f"id-{number}", f"2026-01-01T00:00:{number:02d}", *pair)


@pytest.fixture(autouse=True)
def _empty(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("PINTPOT_STORE", raising=False)


def test_a_pair_comes_back_as_a_record_and_counts_in_the_answer():
    assert measurements.compared() == []
    assert kept(CASE, PREDICTED, MEASURED) == kept(CASE, PREDICTED, MEASURED) == ""
    records = measurements.compared()
    assert len(records) == 2 and len({r.id for r in records}) == 2 and len(measurements.compared(latest=1)) == 1
    first = records[0]
    assert (first.model, first.batch, first.config, first.measured.remarks) == ("tiny-bert", 4, {"lr": 0.1}, ("odd",))
    assert "Of 2 runs" in figures.errors_answer(records) and "-3.846%" in figures.errors_answer(records)


def test_what_need_not_agree_is_not_kept():
    assert kept(CASE, replace(PREDICTED, source=Tier.FAKE), MEASURED) == ""
    assert kept(CASE, PREDICTED, replace(MEASURED, source=Tier.TRACKED)) == ""
    assert measurements.compared() == []


def test_a_pair_that_cannot_be_kept_says_why(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "runs"):
        monkeypatch.setenv("PINTPOT_RUNS", str(folder))
        assert kept(CASE, PREDICTED, MEASURED) == f"{folder} is not a folder"
    (tmp_path / "runs" / "measurements.jsonl").mkdir(parents=True)
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    assert "measurements.jsonl cannot be written: Is a directory" in kept(CASE, PREDICTED, MEASURED)


def test_a_torn_line_hides_no_other(tmp_path):
    kept(CASE, PREDICTED, MEASURED)
    with (tmp_path / "runs" / "measurements.jsonl").open("a") as file:
        file.write('{"id": "half\n[1]\n{}\n{"id": "no end')
    kept(CASE, PREDICTED, MEASURED)
    assert len(measurements.compared()) == 2


def test_a_profile_leaves_measurements_out_and_must_be_known():
    kept(CASE, PREDICTED, MEASURED)
    assert measurements.compared("quick") == []
    with pytest.raises(UnknownName, match="quick"):
        measurements.compared("quik")
