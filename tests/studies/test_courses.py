"""One set of runs answers for every currency: marks lie where amounts are used up, and a course is what a run is."""

from __future__ import annotations

import dataclasses

import pytest

import workbench as wb
from workbench import figures
from workbench.core.errors import BadInput
from workbench.figures.mpl import to_svg
from workbench.records.schema import Quantity
from workbench.session import Session
from workbench.studies.courses import Constant, Contest, Course, Mark, contest, held_out_loss

WAYS = ("full lr=0.01", "last-blocks blocks=1 lr=0.01", "mezo lr=0.001")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
    return wb.open("digits", "tiny-cnn", "raspberry-pi-4", budget="1GiB", profile="quick", train=64, test=32)


def test_marks_lie_where_the_amounts_are_used_up(bench) -> None:
    asked = Contest(bench, WAYS, 6, WAYS[0], currencies=("flops", "energy"))
    assert asked.marks(WAYS[0]) == [3, 6]
    for way, prices in asked.prices().items():
        for by, amount in asked.amounts().items():
            assert int(amount / prices[by].value + 1e-9) in asked.marks(way)
    assert asked.prices()[WAYS[2]]["energy"].kind == "extrapolated"
    assert asked.marks(WAYS[2])[-1] > 6
    with pytest.raises(BadInput, match="steps"):
        Contest(bench, WAYS, 0).prices()


def test_scoring_on_the_way_changes_nothing_and_a_course_is_kept(bench) -> None:
    asked = Contest(bench, WAYS[:1], 20, WAYS[0], currencies=("flops",))
    told: list[str] = []
    (course,) = contest(asked, [0], tell=told.append)
    assert [m.step for m in course.marks] == [0, 10, 20]
    assert len(told) == 2
    session = Session(bench.case("full", lr=0.01), 0, None, Constant(steps=20), bench.sizes)
    session.prepare()
    assert len(list(session.steps())) == 20
    assert course.marks[-1].loss == pytest.approx(held_out_loss(session), rel=1e-5)
    assert course.marks[-1].loss != course.marks[0].loss
    assert course.peak > 0
    assert Course.from_dict(course.to_dict()) == course
    (again,) = contest(asked, [0], tell=told.append)
    assert again == course
    assert len(told) == 2


def test_the_rate_stays_after_the_warm_up() -> None:
    """So that the first half of a run is a run of half the length, but for its warm-up."""
    schedule = Constant(steps=100)
    assert [schedule.factor(i, 100) for i in (4, 9, 50, 99)] == [0.5, 1.0, 1.0, 1.0]


def course(way: str, seed: int, peak: int, losses: tuple[float, ...], price: float) -> Course:
    marks = tuple(Mark(10 * i, loss, 1 - loss) for i, loss in enumerate(losses))
    return Course(way, seed, marks, {"flops": Quantity(price, "counted")}, peak, "accuracy")


FOUND = [
    c
    for seed in (0, 1, 2)
    for c in (
        course("full", seed, 400, (0.5, 0.3 + 0.01 * seed, 0.2), 3.0),
        course("mezo", seed, 100, (0.5, 0.45, 0.4 + 0.02 * seed), 1.5),
    )
]


def test_what_an_amount_pays_for_is_what_is_compared() -> None:
    first = FOUND[0]
    assert first.at("flops", 35.0).step == 10
    assert first.at("flops", 60.0).step == 20
    assert first.at("flops", 0.5).step == 0
    unknown = dataclasses.replace(first, prices={"flops": Quantity(None, "counted")})
    assert unknown.at("flops", 60.0) is None
    info = figures.courses(FOUND, {"flops": 30.0})
    ways = {w.label: w for w in info.ways}
    assert ways["full"].final == pytest.approx(1 - 0.31)
    assert ways["mezo"].final == pytest.approx(1 - 0.42)
    assert ways["full"].tracks[0].shares == (0.0, 1.0)
    assert ways["mezo"].tracks[0].shares == (0.0, 0.5, 1.0)
    row = figures.courses_table(FOUND, {"flops": 30.0}).rows[1]
    assert row["flops steps"] == 20
    assert row["flops difference"].startswith("-0.110")
    answer = figures.courses_answer(FOUND, {"flops": 30.0})
    assert "at equal flops full" in answer
    assert "best is mezo" in answer
    assert to_svg(info) == to_svg(info)
    assert len(info.rows()) == 5
