"""The search under a budget on a blank page: the slider by keyboard, said in words, parts walked, a choice copied."""

import pytest
import synthetic
from test_grid_and_compare import gone, host

from workbench import figures

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def info():
    return figures.budget_search(*synthetic.budget_search())


def test_the_budget_is_set_by_keyboard_and_said(visit, info):
    page = visit.page
    host(page, "budget_search", info)
    said, slider = page.get_by_role("status"), page.get_by_role("slider", name="Budget")
    begin = "At 4.00 MiB of 7.00 MiB (57 %): 2 of 4 parts train, 70 % of the worth for 3.00 MiB."
    assert said.text_content().startswith(begin)
    assert "The last ones that fit: 63 %; by chance: 35 %" in said.text_content()
    assert slider.get_attribute("aria-valuetext") == "4.00 MiB"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert said.text_content().startswith("At 7.00 MiB of 7.00 MiB (100 %): 4 of 4 parts train, 100 % of the worth")
    page.get_by_role("radio", name="operations").check()
    assert said.text_content().startswith("At 4.19 MFLOP of 7.34 MFLOP"), "each kind keeps a budget of its own"
    page.get_by_role("radio", name="bytes kept").check()
    assert said.text_content().startswith("At 7.00 MiB")
    gone(visit)


def test_parts_are_walked_by_keyboard(visit, info):
    page = visit.page
    host(page, "budget_search", info)
    page.get_by_role("application").focus()
    page.keyboard.press("Home")
    said = page.get_by_role("status")
    assert said.text_content() == (
        "layer.0 weight: 10 % of the worth, 4.00 MiB alone; it is frozen at this budget; first chosen at 7.00 MiB."
    )
    page.keyboard.press("End")
    assert "it trains at this budget; first chosen at 4.00 MiB" in said.text_content()
    gone(visit)


def test_a_choice_is_copied_where_a_method_takes_it_and_outlives_new_data(visit, info):
    page = visit.page
    host(page, "budget_search", info)
    board = "{ value: { writeText: async (text) => { window.copied = text; } } }"  # a blank page has none
    page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {board})")
    page.get_by_role("button", name="Copy as command").click()
    assert "tensors=a.weight,b.weight" in page.evaluate("copied")
    page.get_by_role("slider", name="Budget").fill("0")
    assert page.get_by_role("button", name="Copy as command").count() == 0, "nothing is chosen, so there is no run"
    page.evaluate("(info) => model.set('info', info)", info.data())
    assert page.get_by_role("slider", name="Budget").input_value() == "0"
    page.evaluate("(info) => model.set('info', {...info, searches: []})", info.data())
    assert page.locator("p").text_content() == "No search was given."
    gone(visit)
