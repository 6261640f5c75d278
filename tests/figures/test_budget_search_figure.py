"""The data of a search under budgets: every pick with what it cost, small, and asked for again in the right words."""

import json
import shlex
from xml.etree import ElementTree

import pytest
import synthetic

from workbench import figures
from workbench.figures.budget_search import amount
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly


@pytest.fixture(scope="module")
def info():
    return figures.budget_search(*synthetic.budget_search())


def test_every_pick_is_there_and_can_be_asked_for(info):
    view = info.searches[0]
    assert [pick.chosen for pick in view.picks] == [(), (2, 3), (0, 1, 2, 3)]
    assert len(info.rows()) == 2 * 3 * 4 and sum(row["trains"] for row in info.rows()) == 2 * 6
    words = shlex.split(view.picks[1].command)
    assert {"--method", "sparse-update", "executor=graph", "tensors=a.weight,b.weight"} <= set(words)
    assert "tensors='a.weight,b.weight'" in view.picks[1].python
    assert view.picks[0].command == view.picks[0].python == "", "no method trains nothing but the head by that name"
    assert "at 4.00 MiB of 7.00 MiB, 2 of 4 parts hold 70.0 % of the worth" in info.alt
    assert amount(999, "FLOP") == "999 FLOP" and amount(1.5e9, "FLOP") == "1.5 GFLOP"


def test_the_drawings_are_small_and_repeat(info):
    picture = to_svg(info)
    assert picture == to_svg(info) and len(picture) < 60_000
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert len(to_plotly(info).data) == 6
    assert len(json.dumps(info.data(), allow_nan=False)) < 6_000
    nothing = figures.budget_search(synthetic.budget_search()[0], [])
    assert "No search" in to_svg(nothing) and len(to_plotly(nothing).data) == 0
