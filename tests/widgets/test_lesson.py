"""A guess is taken down before the answer and not after it; an exercise says whether it is solved."""

import pytest

import widgets
from workbench import figures
from workbench.core.errors import BadInput, UnknownName
from workbench.figures.mpl import to_svg


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
