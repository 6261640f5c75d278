"""A guess is taken down before the answer and not after it; an exercise says whether it is solved."""

import pytest

import widgets
from widgets import guesses
from workbench import figures
from workbench.core.errors import BadInput, UnknownName
from workbench.figures.mpl import to_svg


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path))
    return tmp_path


def test_a_guess_counts_until_the_answer_is_shown():
    asked = widgets.guess("Which is larger?", ["one", "two"])
    assert asked.choice is None and asked.right is None and asked.info["answer"] is None
    asked._asked(None, {"do": "guess", "choice": 0}, [])
    assert asked.choice == 0 and asked.info["choice"] == 0
    asked.reveal("two", "It is twice as much.")
    assert asked.right is False and asked.info["answer"] == 1
    asked.choose("two")
    assert asked.choice == 0, "too late to guess"
    assert asked.finished().alt == "Which is larger? The answer is two. The guess was one."
    assert asked.info["part"] == "question" and asked._below.info["part"] == "answer", "two boxes, not one twice"


def test_a_guess_is_recorded_and_found_again(place):
    asked = widgets.guess("Which is larger?", ["one", "two"])
    asked.choose("one")
    asked.choose("two")
    asked.reveal("one", "It is.")
    (place / "guesses.jsonl").open("a").write("half a li")
    lines = list(guesses.kept())
    assert [(line["guess"], line.get("answer")) for line in lines] == [("one", None), ("two", None), ("two", "one")]
    assert widgets.guess("Which is larger?", ["two", "one"]).choice == 0
    assert widgets.guess("Which is larger?", ["three", "four"]).choice is None, "that option is gone"


def test_a_guess_after_the_cells_ran_counts_while_no_answer_was_seen():
    asked = widgets.guess("Which is larger?", ["one", "two"])
    asked.reveal("two")
    assert asked._below.info["choice"] is None
    asked._asked(None, {"do": "guess", "choice": 1}, [])
    assert asked.right is True and asked._below.info["choice"] == 1
    asked._asked(None, {"do": "guess", "choice": 0}, [])
    assert asked.right is True, "one guess beside an answer"


def test_a_report_has_nobodys_guess_in_it(monkeypatch):
    widgets.guess("Which is larger?", ["one", "two"]).choose("one")
    monkeypatch.setenv("PINTPOT_HEADLESS", "1")
    assert widgets.guess("Which is larger?", ["one", "two"]).choice is None


def test_nonsense_from_a_page_is_ignored_and_from_a_notebook_refused():
    asked = widgets.Guess("Which?", ["one", "two"])
    for content in ({"do": "guess", "choice": 7}, {"do": "guess", "choice": "0"}, {}, {"do": "start", "choice": 1}):
        asked._asked(None, content, [])
    assert asked.choice is None
    with pytest.raises(UnknownName, match="one"):
        asked.reveal("onee")
    with pytest.raises(BadInput, match="options"):
        widgets.Guess("Which?", ["one", "one"])


def test_the_printed_question_marks_the_answer():
    open_, shown = (figures.guess("Which?", ["one", "two"], answer=answer) for answer in (None, "two"))
    assert "✓" not in to_svg(open_) and to_svg(shown).count("✓") == 1


def test_an_exercise_says_what_is_missing(capsys):
    assert widgets.check(True, "Well done.", "try again.") is True
    assert widgets.check(False, "Well done.", "try again.") is False
