"""The map of kept bytes on a blank page: set by keyboard, said in words, redrawn at once, copied as a run."""

import pytest
import synthetic
from test_grid_and_compare import gone, host

from workbench import figures

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def info():
    return figures.saved_map(synthetic.saved_map())


def test_toggles_are_set_by_keyboard_and_said(visit, info):
    page = visit.page
    host(page, "saved_map", info)
    said = page.get_by_role("status")
    assert said.text_content().startswith("full: 36.0 MiB kept for backward in 6 of 6 layers. Beside it: weights 3.00")
    text = page.evaluate("host.textContent")
    assert "All that" not in text and "Inputs and workspace are left out" in text, "a sum of four parts is not all"
    assert [g.get_attribute("role") or "group" for g in page.locator("fieldset").all()] == ["group"] * 3
    page.get_by_role("group", name="Recomputed").get_by_role("radio", name="nothing").focus()
    page.keyboard.press("ArrowDown")
    assert said.text_content().startswith("full, recomputed: every block: 4.50 MiB kept")
    assert "13 % of where the toggles begin" in said.text_content() and "(1.33 x)" in said.text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert said.text_content().startswith("full, recomputed: every block, kept as: int8: 1.13 MiB kept")
    assert page.locator(".pp-reference").count() == 6, "where it began stays in sight"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is visible"
    gone(visit)


def test_layers_are_walked_by_keyboard(visit, info):
    page = visit.page
    host(page, "saved_map", info)
    page.get_by_role("radio", name="last-blocks blocks=1").check()
    page.get_by_role("application").focus()
    page.keyboard.press("End")
    said = page.get_by_role("status")
    assert said.text_content().startswith("encoder.layer.5: 6.00 MiB kept (activations and softmax 3.00 MiB, norms")
    assert said.text_content().endswith("it gets a gradient.")
    page.keyboard.press("Home")
    assert said.text_content() == "encoder.layer.0: keeps nothing; nothing in it trains."
    gone(visit)


def test_what_cannot_be_says_why_and_a_way_back_is_left(visit, info):
    page = visit.page
    host(page, "saved_map", info)
    page.get_by_role("radio", name="last-blocks blocks=1").check()
    page.get_by_role("radio", name="int8").check()
    alert = page.get_by_role("alert").text_content()
    assert alert == "last-blocks blocks=1, kept as: int8: not possible, as no <b>packing</b> here"
    assert page.locator("svg[role=application]:visible").count() == 0
    page.get_by_role("radio", name="made").check()
    assert page.locator("svg[role=application]:visible").count() == 1
    gone(visit)


def test_the_choice_is_copied_and_outlives_new_data(visit, info):
    page = visit.page
    host(page, "saved_map", info)
    board = "{ value: { writeText: async (text) => { window.copied = text; } } }"  # a blank page has none
    page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {board})")
    page.get_by_role("radio", name="bias").check()
    page.get_by_role("radio", name="int8").check()
    page.get_by_role("button", name="Copy as command").click()
    assert page.evaluate("copied").startswith("pintpot run --method bias --seed 0")
    assert page.evaluate("copied").endswith(" --set saved=int8")
    page.evaluate("(info) => model.set('info', info)", info.data())
    assert page.get_by_role("radio", name="int8").is_checked() and page.get_by_role("radio", name="bias").is_checked()
    page.evaluate("(info) => model.set('info', {...info, states: []})", info.data())
    assert page.locator("p").text_content() == "No combination can be traced."
    gone(visit)


def test_a_toggle_redraws_a_deep_model(visit, record_property):
    page = visit.page
    host(page, "saved_map", figures.saved_map(synthetic.saved_map(layers=80)))
    spent = page.evaluate(
        """() => { const radios = [...host.querySelectorAll('input')]; const begun = performance.now();
        for (let i = 0; i < 20; i++) radios[i % 2].click();
        return (performance.now() - begun) / 20; }"""
    )
    record_property("milliseconds from toggle to drawing", spent)
    gone(visit)


def test_a_colour_has_one_meaning_and_pieces_are_told_apart(visit, info):
    page = visit.page
    host(page, "saved_map", info)
    look = "p => p.querySelector('rect').getAttribute('fill') + (p.querySelector('path')?.getAttribute('d') ?? '')"
    drawn = page.locator("pattern").evaluate_all(f"e => e.map({look})")
    colours = [one[:7] for one in drawn]
    assert len(set(colours)) == len(colours) == 7 and len({one[7:] for one in drawn[4:]}) == 3
    page.get_by_role("radio", name="full").check()
    edges = "e => [...new Set(e.map(p => getComputedStyle(p).stroke))]"
    ink = page.evaluate("getComputedStyle(host).color")
    assert page.locator("svg[role=application] .pp-area").evaluate_all(edges) == [ink], "a pale shade keeps an edge"
    gone(visit)
