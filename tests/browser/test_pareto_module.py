"""The Pareto panel on a blank page: any two measures, spread on both axes, what is missing and how it is run."""

from dataclasses import replace

import pytest
import synthetic
from make_notebook import synthetic_notebook
from synthetic import MIB, run
from test_grid_and_compare import gone, host

from workbench import figures
from workbench.records.grid import GridPoint
from workbench.records.schema import Quantity
from workbench.report.exporter import to_html

pytestmark = pytest.mark.browser


def timed(method, seed):
    """A run whose step time, peak and loss depend on the seed."""
    record = run(method, seed)
    slow = {"lora": 0.3, "bias": 0.2, "head": 0.1}[method] * (1 + seed / 10)
    profile = replace(record.measured, peak=record.measured.peak + seed * MIB)
    return replace(record, step_time=Quantity(slow, "measured"), measured=profile)


def planned(missing=(("head", 2), ("mezo", 0), ("mezo", 1))):
    pairs = [(m, s) for m in ("lora", "bias", "head") for s in range(3)] + [("mezo", 0), ("mezo", 1)]
    return [
        GridPoint({"method": m}, s, None if (m, s) in missing else timed(m, s) if m != "mezo" else run(m, s))
        for m, s in pairs
    ]


def info(points=None, **more):
    points = planned() if points is None else points
    return figures.pareto([p.record for p in points if p.record], 200 * MIB, planned=points, **more)


def test_any_two_measures_are_chosen_and_seeds_spread_on_both_axes(visit):
    page = visit.page
    host(page, "pareto", info())
    options = page.get_by_label("Up").locator("option").all_text_contents()
    assert (
        options[:3] == ["accuracy", "peak memory", "step time on this host"] and "training loss at the end" in options
    )
    assert page.get_by_label("Across").locator("option").all_text_contents() == options
    colour = next(p.colour for p in info().points if p.label == "lora")
    ways = "e => e.map(w => w.getAttribute('x1') === w.getAttribute('x2') ? 'up' : 'across')"
    whiskers = page.locator(f".pp-whisker[stroke='{colour}']").evaluate_all(ways)
    assert whiskers == ["up", "across"], "an interval of the score, a range of the peak"
    page.get_by_label("Across").select_option("step_time")
    assert page.evaluate("document.activeElement.labels[0].textContent").startswith("Across"), "the focus stays"
    assert "step time on this host (lower is better)" in page.locator("svg[role=group]").text_content()
    name = page.locator("svg[role=group]").get_attribute("aria-label")
    assert name.startswith("accuracy against step time on this host: lora 82.") and "at 330 ms" in name
    whiskers = page.locator(f".pp-whisker[stroke='{colour}']").evaluate_all(ways)
    assert whiskers == ["up", "across"]
    assert page.locator(".pp-mark", has_text="lora").locator(".pp-seed").count() == 3
    xs = [
        page.locator(".pp-mark", has_text=m).locator(".pp-focus").get_attribute("cx") for m in ("head", "bias", "lora")
    ]
    assert sorted(xs, key=float) == xs
    page.locator(".pp-mark").first.focus()
    page.keyboard.press("End")
    said = page.locator("p[aria-live]").text_content()
    assert (
        "lora: accuracy 82." in said
        and "95 % over 3 seeds" in said
        and "step time on this host 330 ms measured" in said
    )
    assert "peak memory" in said and "to spare" in said, "the budget is of memory, whatever is drawn"
    gone(visit)


def test_the_front_and_the_shade_follow_the_measures(visit):
    page = visit.page
    host(page, "pareto", info())
    corners = lambda: page.locator(".pp-front").get_attribute("d").count("V")  # noqa: E731
    shade = lambda side: float(page.locator(".pp-over").get_attribute(side))  # noqa: E731
    assert corners() == 2 and shade("height") > 300 > shade("width")
    page.get_by_label("Up").select_option("peak")
    page.get_by_label("Across").select_option("step_time")
    assert corners() == 0, "head is the fastest and the smallest"
    assert shade("width") > 700 and page.locator(".pp-budget-name").text_content() == "budget 200 MiB"
    page.get_by_label("Up").select_option("score")
    assert page.locator(".pp-over").get_attribute("visibility") == "hidden"
    assert "Open marks do not keep the budget" in page.locator("p[aria-live]").text_content()
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    open_ = page.locator(".pp-mark path").evaluate_all("e => e.map(p => p.getAttribute('fill'))")
    assert set(open_) == {"none"} and not page.locator(".pp-front").get_attribute("d")
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Across").select_option("score")
    page.get_by_label("Up").select_option("step_time")
    assert corners() == 2, "a score is better to the right"
    gone(visit)


def test_what_is_missing_is_shown_and_run_from_here(visit):
    page = visit.page
    figure = info(live=True)
    host(page, "pareto", figure)
    lacking = page.get_by_role("list", name="Not in the picture")
    assert lacking.get_by_role("listitem").all_text_contents() == [
        "head: 2 of 3 runs",
        "mezo: not run, 0 of 2 runs",
    ]
    assert "head, 2 of 3 runs" in page.locator(".pp-mark text").all_text_contents()
    page.get_by_label("Across").select_option("step_time")
    page.get_by_role("button", name="Run the 3 missing runs").click()
    assert page.evaluate("sent") == [{"do": "start"}]
    page.evaluate("(i) => model.set('info', i)", replace(figure, doing="1 of 3", problem="<b>no</b>").data())
    assert page.get_by_label("Across").input_value() == "step_time", "what was chosen outlives new data"
    assert page.get_by_role("alert").text_content() == "<b>no</b>"
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate("sent")[-1] == {"do": "cancel"}
    page.evaluate("(i) => model.set('info', i)", info(planned(()), live=True).data())
    assert lacking.count() == 0 and page.locator(".pp-mark").count() == 4
    page.evaluate("(i) => model.set('info', i)", info(planned(), live=True).data())
    page.evaluate("listeners['comm_live_update'].forEach((f) => f())")
    assert page.get_by_role("button").all_text_contents() == ["Reset"], "no button without a kernel"
    assert page.get_by_role("status").last.text_content() == "The kernel was restarted; run this cell again."
    gone(visit)


def test_before_the_first_run_there_is_the_button_and_without_a_kernel_the_command(visit):
    page = visit.page
    nothing = [replace(p, record=None) for p in planned()]
    host(page, "pareto", info(nothing, live=True))
    assert page.locator(".pp-mark").count() == 0 and page.get_by_role("listitem").count() == 4
    assert page.locator(".pp-verdict").first.text_content() == "", "of nothing nothing is said"
    assert page.get_by_role("button", name="Run the 11 missing runs").is_visible()
    page.evaluate("(i) => model.set('info', i)", info(nothing, command="pintpot ablate method=lora").data())
    assert page.locator("code").text_content() == "pintpot ablate method=lora"
    gone(visit)


def test_refused_methods_stand_where_they_are_known(visit):
    page = visit.page
    host(page, "pareto", figures.pareto(synthetic.comparison()))
    assert page.locator(".pp-mark", has_text="full: refused (predicted)").count() == 1
    page.get_by_label("Up").select_option("peak")
    page.get_by_label("Across").select_option("device_step_time")
    full = page.locator(".pp-mark", has_text="full (predicted)")
    assert full.count() == 1 and page.locator(".pp-mark").count() == 5, "what is said before the first step is known"
    assert "full" not in page.locator(".pp-verdict").first.text_content()
    page.get_by_label("Across").select_option("last_loss")
    assert page.locator(".pp-mark").count() == 4
    assert page.locator(".pp-verdict").first.text_content().startswith("4 of 5 fit"), "all are judged, drawn or not"
    assert page.get_by_role("listitem").all_text_contents() == ["full: refused, no training loss at the end"]
    gone(visit)


def test_the_title_of_a_report_follows_the_axes(visit, tmp_path):
    notebook = synthetic_notebook(synthetic.comparison())
    (tmp_path / "report.html").write_text(to_html(notebook)[0], encoding="utf-8")
    page = visit.open(tmp_path / "report.html")
    figure = page.locator("figure.kind-pareto").first
    title = figure.locator(".figure-title")
    first = title.text_content()
    across = figure.get_by_label("Across")
    other = next(name for name in across.locator("option").all_text_contents() if "peak" not in name)
    across.select_option(label=other)
    assert title.text_content().endswith(f"against {other}") and title.text_content() != first
    for option in ("Up", "Across"):
        figure.get_by_label(option).select_option(value={"Up": "score", "Across": "peak"}[option])
    assert title.text_content() == first
    assert visit.complaints == []
