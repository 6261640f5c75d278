"""Tables and pictures of the microcontroller page say what they were given, in both drawings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from synthetic import run

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly


@dataclass
class Curve:
    label: str
    layers: tuple
    ratios: tuple


@dataclass
class Arm:
    group: str
    label: str
    extra: int
    scores: tuple
    records: tuple
    lr: float = 0.1
    losses: dict | None = None


def arm(group, label, extra, values):
    records = tuple(run("lora", s, score={"name": "accuracy", "value": v, "count": 600}) for s, v in enumerate(values))
    return Arm(group, label, extra, tuple(values), records, losses={0.1: 1.5, 1.0: None})


CURVES = [Curve("float", ("a", "b"), (10.0, 100.0)), Curve("int8", ("a", "b"), (1e6, 1e8))]
ARMS = [
    arm("biases", "head alone", 0, (0.5, 0.6)),
    arm("biases", "2 biases", 900, (0.6, 0.7)),
    arm("x", "mine", 5000, ()),
]


def test_norm_ratios_are_logarithms_and_their_distance_is_the_median():
    info = figures.norm_ratios(CURVES)
    assert [c.logarithms for c in info.curves] == [(1.0, 2.0), (6.0, 8.0)]
    assert "int8 lies 5.5 decades from float" in info.caption and len(info.rows()) == 4
    assert "<svg" in to_svg(info) and len(to_plotly(info).data) == 2


def test_extra_bytes_keep_every_scheme_and_draw_those_with_a_score():
    info = figures.extra_bytes(ARMS)
    assert [(line.group, [p.extra for p in line.points]) for line in info.lines] == [
        ("biases", [0, 900]),
        ("x", [5000]),
    ]
    point = info.lines[0].points[1]
    assert math.isclose(point.score, 0.65) and point.low < 0.65 < point.high
    assert info.lines[1].points[0].score is None
    assert "2 biases with 65.0 % at 900 B" in info.alt
    assert "<svg" in to_svg(info) and len(to_plotly(info).data) == 2
    assert "<svg" in to_svg(figures.extra_bytes([]))


def test_tuned_arms_show_the_grid_the_rate_and_what_diverged():
    row = figures.tuned_table(ARMS[:1]).rows[0]
    assert row["lr"] == 0.1 and "1: diverged" in row["grid"] and "0.1: 1.50" in row["grid"]
    assert row["score"].startswith("55.0 % (") and row["weights"]
    assert figures.tuned_table([ARMS[2]]).rows[0]["score"] == "no run ended"


def test_the_answer_says_whether_it_fits():
    class Plan:
        def __init__(self, sram):
            self.sram = sram

    text = figures.microcontroller_answer(Plan(100 * 1024), Plan(635 * 1024), ARMS, 256 * 1024)
    assert "100 KiB of SRAM and fits the 256 KiB" in text and "635 KiB" in text and "head alone 55.0 %" in text
    assert "does not fit" in figures.microcontroller_answer(Plan(300 * 1024), Plan(1), [], 256 * 1024)
