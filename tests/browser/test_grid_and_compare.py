"""Modules of grids, comparisons and gradients on a blank page: what is chosen is what is shown."""

import json
from dataclasses import replace

import pytest
import synthetic
from synthetic import run
from test_modules import HOST

from workbench import figures
from workbench.records.grid import GridPoint
from workbench.report import page as assets

pytestmark = pytest.mark.browser


def host(page, kind, info):
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    code = HOST.replace("MODULE", assets.as_expression(assets.modules()[kind]))
    # A report sorts the names in its data: no module may read an order out of them.
    data = json.loads(json.dumps(info.data(), sort_keys=True))
    page.evaluate(code.replace("send() {}", "send: (m) => (window.sent ??= []).push(m)"), data)


def gone(visit):
    visit.page.evaluate("stop()")
    assert visit.page.evaluate("host.children.length") == 0
    assert visit.page.evaluate("listeners['change:info'].length") == 0
    assert visit.complaints == []


def points(missing=(("bias", 8),)):
    return [
        GridPoint({"method": m, "r": r}, s, None if (m, r) in missing else run(m, s))
        for m in ("lora", "bias", "full")
        for r in (4, 8)
        for s in range(3)
    ]


def test_grid_switches_metric_axes_and_view_and_asks_for_what_is_missing(visit):
    page = visit.page
    info = figures.grid(points(), 200 * synthetic.MIB, live=True)
    host(page, "grid", info)
    assert page.locator("tbody tr").count() == 3 and page.locator("td").count() == 6
    assert "not run" in page.locator("tbody tr").nth(1).locator("td").nth(1).text_content()
    assert page.locator("td.pp-no").count() == 2, "full tuning does not keep the budget"
    lora = page.locator("tbody tr").first
    assert lora.locator("th").text_content() == "lora" and "82.8 %" in lora.locator("td").nth(1).text_content()
    page.get_by_label("Rows").select_option("r")
    assert page.locator("tbody tr").count() == 2
    page.locator("label", has_text="Metric ").last.locator("select").select_option("peak")
    assert "MiB" in page.locator("td").first.text_content()
    page.get_by_label("Show as").select_option("plot")
    assert page.locator(".pp-mark").count() == 5
    assert page.evaluate("document.activeElement.tagName") == "SELECT", "the control keeps the focus"
    page.locator(".pp-mark").first.focus()
    page.keyboard.press("ArrowRight")
    assert "runs" in page.locator("[aria-live]").text_content()
    page.get_by_label("Up").select_option("trainable")
    page.get_by_label("Across").select_option("score")
    lines = page.locator(".pp-whisker")
    level = lines.evaluate_all("e => e.filter(l => l.getAttribute('x1') !== l.getAttribute('x2')).length")
    assert page.locator(".pp-mark").count() == 5 and level == 5, "the seeds' spread lies along the axis of the score"
    page.get_by_role("button", name="Run the 3 missing runs").click()
    assert page.evaluate("sent") == [{"do": "start"}]
    running = replace(info, doing="Run 1 of 3: bias, seed 0", problem="<b>no</b>")
    page.evaluate("(info) => model.set('info', info)", running.data())
    assert page.locator(".pp-mark").count() == 5, "the view that was chosen outlives new data"
    assert page.get_by_role("alert").text_content() == "<b>no</b>"
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate("sent")[-1] == {"do": "cancel"}
    page.evaluate("listeners['comm_live_update'].forEach((f) => f())")
    assert page.get_by_role("button").count() == 0, "no button without a kernel"
    assert "run this cell again" in page.get_by_role("status").text_content()
    gone(visit)


@pytest.mark.parametrize("kind", ["grid", "pareto"])
def test_the_front_is_of_steps_over_the_bars_and_no_time_is_below_zero(visit, kind):
    page = visit.page
    records = [
        replace(run(m, s), step_time=replace(run(m, s).step_time, value=0.001 + 0.4 * s * (m == "lora")))
        for m in ("lora", "bias")
        for s in range(3)
    ]
    grid = [GridPoint({"method": r.method}, r.seed, r) for r in records]
    host(page, kind, figures.grid(grid) if kind == "grid" else figures.pareto(records))
    if kind == "grid":
        page.get_by_label("Show as").select_option("plot")
    page.get_by_label("Up").select_option("score")
    page.get_by_label("Across").select_option("peak")
    assert set(page.locator("path.pp-front").get_attribute("d")) & set("MHVL") == set("MHV")
    kinds = "e => [...e.children].map(c => c.querySelector('.pp-whisker') ? 'bars' : c.getAttribute('class') ?? '')"
    order = page.locator("svg[role=group]").first.evaluate(kinds)
    assert order.index("bars") < order.index("pp-front") < order.index("pp-mark")
    page.get_by_label("Across").select_option("step_time")
    said = page.locator("svg[role=group] > text").all_text_contents()
    assert any(" ms" in text for text in said) and not any(text.startswith("-") for text in said), said
    gone(visit)


def test_a_grid_without_a_kernel_names_the_command(visit):
    host(visit.page, "grid", figures.grid(points(), live=False, command="pintpot ablate method=lora"))
    assert visit.page.locator("code").text_content() == "pintpot ablate method=lora"
    assert visit.page.get_by_role("button").count() == 0
    visit.page.evaluate("(info) => model.set('info', info)", figures.grid([]).data())
    assert "no cell" in visit.page.locator("p").text_content()
    gone(visit)


def test_comparison_shows_differences_only_until_asked_for_all(visit):
    page = visit.page
    records = [run("lora", 0), run("lora", 1), run("bias", 0)]
    info = figures.compare(records)
    host(page, "compare", info)
    shown = page.locator("th[scope=row]").all_text_contents()
    assert set(shown) == {line.name for line in info.lines if line.differs}
    assert page.locator("[aria-live]").text_content().endswith("A paler value is the same as that of lora, seed 0.")
    page.get_by_label("Differences only").uncheck()
    assert page.locator("th[scope=row]").count() == len(info.lines)
    page.get_by_label("Differences only").check()
    page.get_by_label("bias, seed 0").uncheck()
    assert "method" not in page.locator("th[scope=row]").all_text_contents()
    assert page.locator("thead th").count() == 3
    page.get_by_label("Find").fill("seed")
    assert page.locator("th[scope=row]").all_text_contents() == ["seed"]
    page.get_by_label("lora, seed 1").uncheck()
    assert "at least two" in page.locator("[aria-live]").text_content()
    gone(visit)


def test_gradients_move_by_keys_and_say_what_is_frozen(visit):
    page = visit.page
    records = [
        replace(r, steps=tuple(replace(s, layer_updates={k: v / 9 for k, v in s.layer_norms.items()}) for s in r.steps))
        for r in (run("head", 0), run("bias", 0))
    ]
    host(page, "gradients", figures.gradients(records))
    assert page.locator("text=frozen").count() > 1
    page.locator("svg[role=application]").focus()
    page.keyboard.press("ArrowDown")
    assert "frozen: no gradient" in page.locator("[aria-live]").text_content()
    page.get_by_label("Method").select_option("1")
    page.locator("svg[role=application]").focus()
    page.keyboard.press("End")
    assert "gradient norm" in page.locator("[aria-live]").text_content()
    page.get_by_label("Show").select_option("1")
    page.locator("svg[role=application]").focus()
    page.keyboard.press("ArrowLeft")
    assert "update over weights" in page.locator("[aria-live]").text_content()
    page.keyboard.press("Home")
    said = page.locator("[aria-live]").text_content()
    assert ", step 1: update over weights 0.00" in said, "steps count from 1, as in the run panel; plain numbers"
    assert page.locator("text=step 0").count() == 0
    page.evaluate("(info) => model.set('info', info)", figures.gradients([]).data())
    assert page.locator("p").count() == 1
    gone(visit)


def test_gradients_show_the_cosine_where_the_method_has_one(visit):
    page = visit.page
    steps = tuple(
        replace(s, layer_cosines={"classifier": -0.02 + s.step / 1000, "all layers": 0.01} if s.step % 8 == 0 else {})
        for s in run("head", 0).steps
    )
    info = figures.gradients([replace(run("head", 0), steps=steps), run("bias", 0)])
    host(page, "gradients", info)
    place = next(i for i, m in enumerate(info.maps) if m.cosines)
    page.get_by_label("Method").select_option(str(place))
    page.get_by_label("Show").select_option("cosine to the true gradient")
    assert "linear, 1 is along the gradient" in page.locator(".pp-scale").text_content()
    assert "frozen" in page.locator("svg[role=application]").text_content(), "what is frozen stays frozen"
    shades = page.locator("svg[role=application] rect[fill^='#']").evaluate_all(
        "e => e.map(r => r.getAttribute('fill'))"
    )
    assert len(shades) == sum(bool(s.layer_cosines) for s in steps) and len(set(shades)) > 2
    page.locator("svg[role=application]").focus()
    page.keyboard.press("Home")
    for _ in info.layers:
        page.keyboard.press("ArrowDown")
    said = page.locator("[aria-live]").text_content()
    assert "cosine to the true gradient -0.02, all layers together 0.01" in said
    page.get_by_label("Method").select_option(str(1 - place))
    assert "No cosine: backpropagation, no estimate along noise." in page.locator("[aria-live]").text_content()
    gone(visit)
