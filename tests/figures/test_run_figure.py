"""The figure of one run: exact, for every state, over or not."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from synthetic import MIB, run

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.figures.run import ENDS, STAGES
from workbench.records.schema import State


def with_peaks(state=State.DONE, **changes):
    record = run("lora", 0, state, **changes)
    return replace(record, steps=tuple(replace(s, peak=(180 + s.step % 7) * MIB) for s in record.steps))


def test_every_state_draws_and_says_itself():
    for state in ENDS:
        info = figures.run(with_peaks(state, reason=f"because of {state}"))
        assert info.over and info.state == state.value and state.value in info.sentence and ENDS[state] in info.alt
        assert info.reason == f"because of {state}" and info.bad == (
            state not in (State.DONE, State.CANCELLED, State.PREDICTED)
        )
        picture = to_svg(info)
        assert picture == to_svg(info) and len(picture) < 60_000 and "style" not in picture
        assert ElementTree.fromstring(picture).tag.endswith("svg")
        json.dumps(info.data(), allow_nan=False)
        assert len(to_plotly(info).data) == 2
    for stage, words in STAGES.items():
        info = figures.run(with_peaks(State.RUNNING), stage=stage)
        assert not info.over and info.state == stage and words in info.sentence


def test_numbers_are_those_of_the_record_and_no_peak_is_lost():
    record = with_peaks()
    info = figures.run(record)
    assert (info.done, info.planned, info.budget) == (150, 150, 256 * MIB)
    assert info.highest == max(info.peaks) == 186 * MIB and len(info.steps) <= 120
    assert info.steps[:2] == (2, 4) and info.steps[-1] == info.done
    assert info.losses[0] == pytest.approx((record.steps[0].loss + record.steps[1].loss) / 2)
    assert sum(info.by_category) == info.profile_peak == record.measured.peak and info.source == "measured"
    assert [row["peak bytes"] for row in info.rows()] == list(info.peaks)
    assert f"accuracy {record.accuracy:.1%}".replace("%", " %") in info.sentence and record.id in info.caption


def test_a_refused_run_shows_what_was_predicted():
    info = figures.run(with_peaks(State.REFUSED, ways=("batch 4 (200 MiB, predicted)",)))
    assert info.steps == () and info.source.startswith("predicted") and sum(info.by_category) == info.profile_peak
    assert info.ways == ("batch 4 (200 MiB, predicted)",) and to_svg(info)


def test_a_run_under_way_says_what_is_left():
    record = with_peaks(State.RUNNING)
    info = figures.run(replace(record, steps=record.steps[:50], measured=None, predicted=None))
    assert info.seconds_left == pytest.approx(100 * 0.12) and "12 s left (extrapolated)" in info.sentence
    assert info.by_category == () and to_svg(info)
    bare = figures.run(replace(record, steps=(), measured=None, predicted=None), stage="ready")
    assert bare.seconds_left is None and bare.rows() == [] and to_svg(bare)
    to_plotly(bare)


def test_a_run_shows_every_step_until_there_are_too_many():
    record = with_peaks(State.RUNNING)
    early = figures.run(replace(record, steps=record.steps[:40]))
    assert early.steps == tuple(range(1, 41)) and early.losses[9] == record.steps[9].loss, "however many are planned"
    grown = figures.run(record)
    assert set(grown.steps) <= set(range(2, 151, 2)), "two and two are one; what is left stays where it was"


def test_the_inside_of_the_step_and_what_is_held_follow_the_record():
    record = with_peaks()
    held = {0: {"weights": 9 * MIB}, 40: {"weights": 9 * MIB, "optimizer state": 5 * MIB}}
    record = replace(record, steps=tuple(replace(s, held=held.get(s.step, {})) for s in record.steps))
    info = figures.run(record)
    assert len(info.phases) == len(info.inside[0]) <= 64 < len(record.measured.timeline)
    totals = [sum(found) for found in zip(*info.inside)]
    assert max(totals) == record.measured.peak == info.profile_peak, "thinned without losing the peak"
    assert info.held == ((0, (9 * MIB, 0, 0, 0, 0, 0)), (20, (9 * MIB, 0, 5 * MIB, 0, 0, 0)))
    assert figures.run(with_peaks()).held == (), "a record from before says nothing of it"


def test_pinned_runs_stand_beside_with_what_differs():
    record, other = with_peaks(), replace(with_peaks(), id="other", seed=3, config={"lr": 0.1, "rank": 4})
    part = replace(other, id="part", state=State.CANCELLED, steps=other.steps[:30])
    info = figures.run(record, pinned=[record, other, part, replace(other, id="none", steps=())])
    assert info.is_pinned and [p.id for p in info.pins] == ["other", "part"], "not itself, not one without a step"
    assert info.pins[0].differs == (("seed", "3", "0"), ("lr", "0.1", "0.001"), ("rank", "4", "8"))
    assert [p.partial for p in info.pins] == [False, True]
    assert info.pins[1].state == "cancelled after 30 of 150 steps" and info.pins[1].steps[-1] == 30
    assert "seed 3, partial" in to_svg(info) and len(to_plotly(info).data) == 4
