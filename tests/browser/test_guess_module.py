"""The question on a blank page: chosen by keyboard, sent to a kernel where there is one, answered in words."""

import pytest
from test_grid_and_compare import gone, host

from workbench import figures

pytestmark = pytest.mark.browser
PARTS = ((None, "question"), ("two", "answer"))  # in the order of a lesson's cells


def test_a_guess_is_made_by_keyboard_and_answered(visit):
    page = visit.page
    host(page, "guess", figures.guess("Which is larger?", ["one", "two"], live=True))
    page.get_by_role("radio", name="one").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("sent") == [{"do": "guess", "choice": 1}]
    assert page.locator("[aria-live]").text_content() == "Your guess: two. Run on to see."
    answered = figures.guess("Which is larger?", ["one", "two"], choice=1, answer="one", because="It is.", live=True)
    page.evaluate("(info) => model.set('info', info)", answered.data())
    assert page.locator("[aria-live]").text_content() == "You guessed two; it is: one. It is."
    assert page.get_by_role("group", name="Which is larger?").count() == 1
    page.evaluate("listeners['comm_live_update'].forEach((f) => f())")
    assert page.get_by_role("radio", name="one").is_disabled()
    assert "run this cell again" in page.locator("[aria-live]").text_content()
    gone(visit)


def test_a_page_without_a_kernel_keeps_the_answer_back_until_asked(visit):
    page = visit.page
    host(page, "guess", figures.guess("Which is larger, <b>really</b>?", ["one", "two"], answer="two", because="Yes."))
    assert "two" not in page.locator("[aria-live]").text_content()
    page.get_by_role("button", name="Show the answer").click()
    assert page.locator("[aria-live]").text_content() == "It is: two. Yes."
    assert page.locator("b").count() == 0
    gone(visit)


@pytest.fixture
def lesson(tmp_path):
    """A page of two questions, each asked in one cell and answered in a later one, and a sentence for its head."""
    from make_notebook import figure_output, output
    from nbformat.v4 import new_code_cell, new_notebook

    from workbench.report import emit
    from workbench.report.exporter import to_html

    outputs = [output(emit.ANSWER, {"text": "It is two."})]
    for question in ("Which is larger?", "Which is smaller?"):
        asked = [figures.guess(question, ["one", "two"], answer=a, part=p) for a, p in PARTS]
        outputs += map(figure_output, asked)
    page = tmp_path / "lesson.html"
    page.write_text(to_html(new_notebook(cells=[new_code_cell("ask()", outputs=outputs)]))[0], encoding="utf-8")
    return page


def test_a_guess_in_a_report_is_made_once_and_answered_below(visit, lesson):
    page = visit.open(lesson)
    asked, answered, other_asked, other = page.locator(".pp-panel").all()
    assert page.get_by_text("It is two.").is_hidden(), "the head of a lesson does not give the answer away"
    assert answered.get_by_role("radio").count() == 0, "the same question is not asked twice"
    assert "You have not guessed yet" in answered.locator("[aria-live]").text_content()
    asked.get_by_role("radio", name="one").focus()
    page.keyboard.press("Space")
    assert asked.locator("[aria-live]").text_content() == "Your guess: one. The answer is below."
    assert asked.get_by_role("radio", name="one").evaluate("(it) => it === document.activeElement")
    assert answered.locator("[aria-live]").text_content() == "You guessed one; it is: two."
    page.keyboard.press("ArrowDown")
    assert answered.locator("[aria-live]").text_content() == "You guessed it: two."
    assert other_asked.locator("input:checked").count() == 0
    other.get_by_role("button", name="Show the answer").click()
    assert other.locator("[aria-live]").text_content() == "It is: two."
    assert other.get_by_role("radio").count() == 2
    page.get_by_text("The answer in short").click()
    assert page.get_by_text("It is two.", exact=True).is_visible()
    assert visit.outside == [] and visit.complaints == []
