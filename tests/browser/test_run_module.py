"""The run panel's module on a blank page: every state, its buttons, and what it says."""

from dataclasses import replace

import pytest
import synthetic
from synthetic import MIB
from test_modules import HOST

from workbench import figures
from workbench.figures.run import ENDS, STAGES
from workbench.records.schema import State
from workbench.report import page as assets

pytestmark = pytest.mark.browser

WORDS = {"command": "pintpot run --method lora", "python": "import workbench as wb"}
#: What the button that starts is called at an end; else it starts again.
AGAIN = {State.DONE: "Train again", State.CANCELLED: "Start again"}


def record(state=State.RUNNING, steps=60, **changes):
    made = synthetic.run("lora", 0, state, **changes)
    return replace(made, steps=tuple(replace(s, peak=(170 + s.step % 9) * MIB) for s in made.steps[:steps]))


def info(state=State.RUNNING, stage="running", steps=60, live=True, ways=(), **changes):
    return figures.run(record(state, steps, ways=tuple(ways), **changes), stage=stage, live=live, **WORDS).data()


@pytest.fixture
def panel(visit):
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["run"]))
    host = host.replace("send() {}", "send: (m) => (window.sent ??= []).push(m)")
    page.evaluate(host, info(stage="ready", steps=0, measured=None, predicted=None))
    yield page
    page.evaluate("stop()")
    assert page.evaluate("host.children.length") == 0
    assert page.evaluate("listeners['change:info'].length") == 0
    assert visit.complaints == []


def show(page, data):
    page.evaluate("(info) => model.set('info', info)", data)


def usable(page, name):
    return page.get_by_role("button", name=name, exact=True).get_attribute("aria-disabled") == "false"


def test_every_state_is_drawn_and_said(panel):
    for state in ENDS:
        show(panel, info(state, reason=f"because <b>{state}</b>"))
        assert state.value in panel.locator(".pp-verdict").text_content()
        assert f"Because <b>{state}</b>" in panel.locator(".pp-why").text_content(), "text, never markup"
        bad = state not in (State.DONE, State.CANCELLED, State.PREDICTED)
        assert panel.get_by_role("alert").count() == bad
        assert not usable(panel, "Cancel")
        assert usable(panel, AGAIN.get(state, "Start again")) == (state not in (State.REFUSED, State.PREDICTED))
    for stage, words in STAGES.items():
        show(panel, info(stage=stage))
        assert words in panel.locator(".pp-verdict").text_content()
        assert panel.get_by_role("alert").count() == 0
        assert usable(panel, "Start") == (stage == "ready")
        assert usable(panel, "Cancel") == (stage in ("queued", "preparing", "running"))


def test_chart_bar_and_readings_follow_the_data(panel):
    assert panel.locator("svg[role=img]:visible").count() == 0, "nothing is known yet"
    show(panel, info())
    assert panel.locator(".pp-run-peak").count() == len(info()["steps"]) == 60
    assert panel.locator(".pp-run-over").count() == 0 and panel.locator(".pp-budget").count() == 2
    assert panel.get_by_role("progressbar", name="Steps done").get_attribute("value") == "60"
    show(panel, info(budget=175 * MIB))
    assert panel.locator(".pp-run-over").count() > 5
    assert "saved for backward" in panel.locator(".pp-legend").text_content()
    slider = panel.get_by_label("Step", exact=True)
    assert slider.get_attribute("aria-valuetext").startswith("step 60: loss ")
    slider.focus()
    panel.keyboard.press("Home")
    assert panel.locator(".pp-reading").text_content().startswith("step 1: loss ")
    for _ in range(9):
        panel.keyboard.press("ArrowRight")
    show(panel, info(steps=90))
    assert panel.locator(".pp-reading").text_content().startswith("step 10: "), "a chosen step stays chosen"
    show(panel, info(steps=150))
    said = panel.locator(".pp-reading").text_content()
    assert said.startswith("steps 9 to 10: ") and " in the mean" in said, "also where two and two become one"
    panel.keyboard.press("End")
    show(panel, info(steps=120))
    assert panel.locator(".pp-reading").text_content().startswith("step 120: "), "at the end it follows the run"
    assert panel.evaluate("document.activeElement.type") == "range", "numbers that come in take no focus"


def test_cancel_says_so_before_the_kernel_answers(panel):
    show(panel, info())
    panel.get_by_role("button", name="Cancel").click()
    assert panel.evaluate("sent") == [{"do": "cancel"}]
    assert "is cancelling" in panel.locator(".pp-verdict").text_content() and not usable(panel, "Cancel")
    show(panel, info(steps=61))
    assert "is cancelling" in panel.locator(".pp-verdict").text_content(), "a late number does not take it back"
    show(panel, info(State.CANCELLED, steps=61, reason="cancelled after 61 of 150 steps"))
    assert "cancelled" in panel.get_by_role("status").text_content()
    panel.get_by_role("button", name="Start again").press("Enter")
    assert panel.evaluate("sent.at(-1)") == {"do": "start"}


def test_a_refusal_shows_the_prediction_and_ways_out(panel):
    show(panel, info(State.REFUSED, steps=0, ways=["batch 4 (200 MiB, predicted)"], reason="the peak passes it"))
    assert panel.get_by_role("alert").get_by_role("listitem").all_text_contents() == ["batch 4 (200 MiB, predicted)"]
    assert "predicted" in panel.locator(".pp-detail").text_content()
    assert panel.locator(".pp-run-loss:visible").count() == 0


def test_the_spoken_sentence_changes_five_times_a_run_not_at_each_step(panel):
    spoken = set()
    for steps in range(1, 150, 7):
        show(panel, info(steps=steps))
        spoken.add(panel.get_by_role("status").text_content())
    assert len(spoken) == 5


def test_copies_and_the_report_without_a_kernel(panel):
    show(panel, info(State.DONE, live=False))
    names = panel.locator("button:visible").all_text_contents()
    assert names == ["Copy as command", "Copy as Python"]
    panel.evaluate(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (t) => { window.copied = t; } } })"
    )
    panel.get_by_role("button", name="Copy as Python").click()
    panel.get_by_role("button", name="Copied").wait_for()
    assert panel.evaluate("copied") == WORDS["python"]
    show(panel, {**info(State.DONE, live=False), "command": ""})
    assert not usable(panel, "Copy as command")


def test_a_kernel_that_is_gone_leaves_no_dead_controls(panel):
    show(panel, info())
    panel.evaluate("listeners['comm_live_update'].forEach((f) => f())")
    assert "run this cell again" in panel.locator(".pp-verdict").text_content()
    assert panel.get_by_role("status").text_content() == panel.locator(".pp-verdict").text_content()
    assert not usable(panel, "Cancel") and not usable(panel, "Start")
    panel.get_by_role("button", name="Cancel").click(force=True)
    assert panel.evaluate("window.sent ?? []") == []
    panel.get_by_label("Step", exact=True).press("Home")
    assert panel.locator(".pp-reading").text_content().startswith("step 1: "), "what is here can be looked at"


def test_a_kernel_that_does_not_answer_is_named(panel):
    panel.clock.install()
    show(panel, info())
    panel.get_by_role("button", name="Cancel").click()
    panel.clock.run_for(6000)
    assert "has not answered" in panel.get_by_role("status").text_content()
    show(panel, info(steps=61))
    assert "is cancelling" in panel.locator(".pp-verdict").text_content()


def test_the_inside_of_the_step_is_stacked_under_the_budget(panel):
    show(panel, info(State.DONE))
    inside = panel.get_by_role("img", name="Memory inside one step by category, measured")
    assert inside.locator(".pp-area").count() == sum(any(v) for v in info(State.DONE)["inside"]) == 6
    assert inside.locator(".pp-budget").count() == 1 and "measured once before the first step" in panel.text_content(
        "body"
    )
    assert panel.locator(".pp-held-area").count() == 0
    held = [(0, (90 * MIB, 0, 0, 0, 0, MIB)), (4, (90 * MIB, 0, 12 * MIB, 0, 0, MIB))]
    show(panel, {**info(State.DONE), "held": held})
    assert panel.locator(".pp-held-area").count() == 5, "weights and inputs, then the optimizer's state as well"
    assert "held before it by category" in panel.text_content("body")
    show(panel, info(State.REFUSED, steps=0, reason="the peak passes it"))
    assert panel.get_by_role("img", name="Memory inside one step by category, predicted").count() == 1
    assert "nothing is measured yet" in panel.text_content("body")


def test_a_run_is_pinned_named_with_what_differs_and_let_go_by_keys(panel):
    show(panel, info())
    assert not usable(panel, "Pin to compare"), "not before it is over"
    show(panel, info(State.DONE))
    panel.get_by_role("button", name="Pin to compare").press("Enter")
    assert panel.evaluate("sent.at(-1)") == {"do": "pin"}
    here, other = record(), replace(record(State.CANCELLED, 20), id="other", config={"lr": 0.1, "rank": 8})
    pinned = figures.run(here, stage="running", live=True, pinned=[other], **WORDS).data()
    show(panel, pinned)
    line = panel.locator(".pp-pins li")
    assert "A: lora, seed 0 (partial: cancelled after 20 of 150 steps)" in line.text_content()
    assert "Differs in lr 0.1, here 0.001." in line.text_content()
    assert panel.locator("svg[role=img] .pp-pinned").count() == 2, "its loss and its peaks"
    assert "Beside it lora, seed 0" in panel.locator("svg[role=img]").first.get_attribute("aria-label")
    unpin = panel.get_by_role("button", name="Unpin A")
    unpin.focus()
    show(panel, {**pinned, "done": 61})
    assert panel.evaluate("document.activeElement.textContent") == "Unpin A", "numbers that come in take no focus"
    panel.keyboard.press("Enter")
    assert panel.evaluate("sent.at(-1)") == {"do": "unpin", "run": "other"}
    show(panel, {**pinned, "pins": []})
    assert panel.evaluate("document.activeElement.textContent") == "Pin to compare", "the focus is not lost"
    assert panel.locator(".pp-pinned").count() == 0
    show(panel, {**pinned, "live": False})
    assert panel.get_by_role("button", name="Unpin A").count() == 0 and panel.locator(".pp-pins li").count() == 1
    show(panel, {**info(State.DONE), "is_pinned": True})
    panel.get_by_role("button", name="Unpin", exact=True).click()
    assert panel.evaluate("sent.at(-1)") == {"do": "unpin"}
