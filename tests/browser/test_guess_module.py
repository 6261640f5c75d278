"""The question on a blank page: chosen by keyboard, sent to a kernel where there is one, answered in words."""

import pytest
from test_grid_and_compare import gone, host

from workbench import figures

pytestmark = pytest.mark.browser


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
