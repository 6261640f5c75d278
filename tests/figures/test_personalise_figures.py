"""Pictures, curves and words of the personalisation page say what they were given, in both drawings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import run

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.studies.personalise import LearnedToken, TimeCurves


def arm(label: str, method: str, values: tuple[float, ...]) -> LearnedToken:
    scores = [{"name": "recognised", "value": v, "count": 120, "details": {"distance": 1 - v}} for v in values]
    pictures = np.arange(3 * 64, dtype="uint8").reshape(3, 8, 8)
    return LearnedToken(label, tuple(run(method, s, score=score) for s, score in enumerate(scores)), pictures)


ARMS = [
    arm("backprop, fp32", "full", (0.82, 0.80, 0.84)),
    arm("ZOODiP", "mezo", (0.5, 0.6, 0.4)),
    arm("without subspace", "mezo", (0.66, 0.7, 0.6)),
]
CURVES = TimeCurves((0.25, 0.5, 0.75), (0.4, 0.2, 0.1), (0.5, 0.6, 0.2), (0.5, 0.9), "run-1")
BLANK = np.zeros((3, 8, 8), dtype="uint8")


@pytest.mark.parametrize("info", [figures.personalise_drawings(ARMS, BLANK, BLANK), figures.token_times(CURVES)])
def test_a_figure_draws_twice_the_same_and_carries_its_words(info) -> None:
    picture = to_svg(info)
    assert picture == to_svg(info) and len(picture) < 60_000
    assert info.alt.endswith(".") and "Runs: " in info.caption
    assert info.rows() and json.loads(json.dumps(info.data(), allow_nan=False))
    assert len(to_plotly(info).data) >= 2


def test_pictures_are_ink_on_paper_and_every_row_is_in_the_data() -> None:
    info = figures.personalise_drawings(ARMS, BLANK, BLANK)
    labels = [label for label, _, _ in info.lines]
    assert labels == ["real, to learn from", "token as it begins", *(a.label for a in ARMS)]
    assert info.lines[0][2][0][0] == (255,) * 8, "no ink is white"
    assert info.lines[3][1] == "50 % recognised"
    assert len(info.rows()) == 5 * 3 * 8
    assert "<image" in to_svg(info)


def test_no_pictures_are_said_to_be_none() -> None:
    info = figures.drawings({})
    assert info.rows() == [] and "No pictures." in to_svg(info)
    to_plotly(info)


def test_the_widest_gap_is_named() -> None:
    assert "widest at time 0.50, 0.400" in figures.token_times(CURVES).alt


def test_the_answer_never_goes_beyond_the_interval() -> None:
    text = figures.personalise_answer(ARMS)
    assert "3.3 times as much" in text
    assert "ZOODiP: -32 points recognised against backprop, fp32 (-62 to -2 over 3 seeds)." in text
    assert "without subspace: +15 points recognised against ZOODiP (" in text
    same = [ARMS[0], replace(ARMS[1], records=arm("", "mezo", (0.9, 0.7, 0.8)).records)]
    assert "not told apart" in figures.personalise_answer(same)
    assert "one seed, no interval" in figures.personalise_answer([replace(a, records=a.records[:1]) for a in ARMS])
    assert "nothing to compare" in figures.personalise_answer(ARMS[1:])


def test_a_claim_is_reproduced_only_where_the_interval_says_so() -> None:
    plain = arm("plain zeroth-order", "mezo", (0.7, 0.72, 0.71))
    rows = {r["claim"]: r for r in figures.personalise_directions([*ARMS, plain]).rows}
    assert len(rows) == 3
    assert rows["without backpropagation a token draws about as well"]["told"].endswith("worse")
    assert rows["the window of times helps, without the subspace"]["told"] == "not told apart at this scale"
    better = replace(ARMS[1], records=arm("", "mezo", (0.8, 0.85, 0.75)).records)
    assert figures.personalise_directions([better, ARMS[2]]).rows[0]["told"] == "reproduced"


def test_the_table_has_bytes_scores_and_what_failed() -> None:
    failed = replace(ARMS[1], records=(run("mezo", 0, score={}, reason="the loss became nan"),))
    alone = replace(ARMS[2], records=ARMS[2].records[:1])
    first, second, third = figures.personalise_table([ARMS[0], failed, alone]).rows
    assert first["recognised"] == "82.0 % (77.0 % to 87.0 %)" and first["distance"].startswith("0.18 (")
    assert first["error"] == first["predicted"] - first["measured"]
    assert "nan" in second["recognised"] and third["recognised"] == "66.0 %"
