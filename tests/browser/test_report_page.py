"""The report in a real browser from disk, without a network: interactive, quiet, and deaf to hostile text."""

import os
from dataclasses import replace

import hostile
import pytest
import synthetic
from make_notebook import figure_output, output, synthetic_notebook, table_output
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench import figures
from workbench.papers import papers
from workbench.report import emit
from workbench.report.exporter import to_html
from workbench.report.gallery import build

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of reports: a clean one, a hostile one, one with plotly, and the gallery."""
    root = tmp_path_factory.mktemp("reports")
    records = synthetic.comparison()
    bad = [replace(r, method=r.method + hostile.IMAGE, reason=hostile.SCRIPT) for r in records]
    payload = {
        "data": [{"type": "scatter", "x": [1, 2], "y": [3, 4], "name": hostile.SCRIPT, "text": [hostile.IMAGE] * 2}],
        "layout": {"title": {"text": f"{hostile.IMAGE}<a href='javascript:window.pwned=10'>x</a>"}},
    }
    plotly = new_code_cell("p", outputs=[output("application/vnd.plotly.v1+json", payload)])
    notebooks = {
        "clean": synthetic_notebook(records),
        "hostile": synthetic_notebook(bad, title=f"Title {hostile.SCRIPT}", extra=hostile.cells()),
        "plotly": synthetic_notebook(records[:3], extra=[plotly]),
    }
    notebooks["hostile"].metadata["pintpot"]["params"]["task"] = hostile.SCRIPT
    for name, notebook in notebooks.items():
        (root / name).mkdir()
        (root / name / "report.html").write_text(to_html(notebook)[0], encoding="utf-8")
    build(root)
    return root


def quiet(visit):
    assert visit.outside == []
    assert visit.complaints == []
    assert visit.page.evaluate("window.pwned") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_opens_and_is_quiet(visit, folder, scheme, tmp_path):
    visit.page.emulate_media(color_scheme=scheme)
    page = visit.open(folder / "clean" / "report.html")
    assert page.locator("figure.is-live").count() == 4
    assert page.locator(".static:visible").count() == 4
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    where = os.environ.get("PINTPOT_SHOTS")
    if where:
        page.screenshot(path=f"{where}/report-{scheme}.png", full_page=True)
    quiet(visit)


def test_hostile_text_stays_text(visit, folder):
    page = visit.open(folder / "hostile" / "report.html")
    assert page.locator("figure.is-live").count() == 4
    assert "FAILED at cell" in page.locator(".banner").first.inner_text()
    for control in page.locator(".pp-mark").all():
        control.hover(force=True)
    assert page.title() == "Title"
    assert hostile.IMAGE in page.locator("#table-1 tbody th").first.inner_text()
    quiet(visit)


def test_the_policy_is_what_stops_a_smuggled_script(visit, folder, tmp_path):
    """Negative control: the same script runs without the policy, so the checks above see something."""
    text = (folder / "clean" / "report.html").read_text(encoding="utf-8")
    smuggled = text.replace("</main>", "<script>window.pwned=1</script><img src=x onerror='window.pwned=2'></main>")
    (tmp_path / "with.html").write_text(smuggled, encoding="utf-8")
    (tmp_path / "without.html").write_text(smuggled.replace("Content-Security-Policy", "Nothing"), encoding="utf-8")
    assert visit.open(tmp_path / "with.html").evaluate("window.pwned") is None
    assert visit.open(tmp_path / "without.html").evaluate("window.pwned") in (1, 2)


def test_moving_the_budget_judges_the_methods_anew(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    pareto = page.locator("#figure-1")
    slider = pareto.get_by_role("slider", name="Budget")
    assert pareto.locator(".pp-verdict").inner_text().startswith("4 of 5 fit; best mean: lora")
    slider.focus()
    page.keyboard.press("Home")
    assert pareto.locator(".pp-verdict").inner_text().startswith("0 of 5 fit")
    assert not pareto.locator(".pp-front").get_attribute("d"), "nothing within the budget, no front"
    page.keyboard.press("End")
    assert pareto.locator(".pp-verdict").inner_text().startswith("5 of 5 fit")
    assert pareto.locator(".pp-front").get_attribute("d").startswith("M")
    assert pareto.get_by_text("full: not run (predicted)").count() == 1, "under that budget nobody refused it"
    pareto.get_by_role("button", name="Reset").click()
    assert pareto.locator(".pp-verdict").inner_text().startswith("4 of 5 fit")
    quiet(visit)


def test_labels_of_marks_do_not_cover_each_other(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    boxes = [t.bounding_box() for t in page.locator("#figure-1 .pp-mark text").all()]
    assert len(boxes) == 5
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
            apart = apart or a["y"] + a["height"] <= b["y"] + 3 or b["y"] + b["height"] <= a["y"] + 3
            assert apart, (a, b)


def test_marks_are_walked_by_keyboard_and_said(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    marks = page.locator("#figure-1 .pp-mark")
    assert page.locator("#figure-1 .pp-mark[tabindex='0']").count() == 1
    marks.first.focus()
    page.keyboard.press("Home")
    said = page.locator("#figure-1 .pp-detail")
    assert said.inner_text().startswith("head:")
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("mezo:") and "95 % over 3 seeds" in said.inner_text()


def test_the_timeline_steps_through_a_step(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    panel = page.locator("figure:has([data-module=timeline])")
    assert panel.locator(".pp-detail").inner_text().startswith("The peak of")
    panel.get_by_label("Method").select_option(label="full")
    assert "362 MiB" in panel.locator(".pp-detail").inner_text()
    panel.get_by_label("Moment").focus()
    page.keyboard.press("Home")
    assert panel.locator(".pp-detail").inner_text().startswith("Event 0, forward:")
    panel.get_by_role("button", name="Go to the peak").click()
    assert "predicted" in panel.locator(".pp-detail").inner_text()
    quiet(visit)


def test_the_fit_explorer_redraws_and_filters(visit, folder, record_property):
    page = visit.open(folder / "clean" / "report.html")
    panel = page.locator("figure:has([data-module=fit])")
    panel.get_by_label("Mark").select_option(label="512 MiB (synthetic board)")
    assert panel.locator("tr[data-state=fits]").count() == 5
    panel.get_by_label("Filter").fill("zeroth")
    assert panel.locator("tbody tr").count() == 1
    spent = page.evaluate(
        """() => { const s = document.querySelector('[data-module=fit] input[type=range]'); const t = performance.now();
        for (let i = 0; i < 20; i++) { s.value = i * 20; s.dispatchEvent(new Event('input')); }
        return (performance.now() - t) / 20; }"""
    )
    record_property("milliseconds from slider to verdicts", spent)
    quiet(visit)


def test_data_is_downloaded_without_a_network(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    with page.expect_download() as download:
        page.locator("#figure-1 button.save").click()
    text = open(download.value.path(), encoding="utf-8").read()  # noqa: SIM115, PTH123
    assert text.startswith("method,seed,state,peak bytes") and len(text.splitlines()) == 16
    assert text == emit.to_csv(figures.pareto(synthetic.comparison()).rows()), "stored by column, read by row"


def test_print_shows_the_static_twins(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    page.emulate_media(media="print")
    assert page.locator(".static:visible").count() == 7
    assert page.locator(".live:visible").count() == 1, "the explorer is a table, which paper takes as it is"
    explorer = page.locator("figure.kind-fit").inner_text()
    assert "over, " in explorer and "free" in explorer and "Sort by" not in explorer
    opened = page.locator("td.verdict details").first
    assert "predicted peak is above the budget" in opened.inner_text(), "folded reasons are open on paper"


def test_paper_says_why_a_run_was_refused_and_what_would_let_it_run(visit, tmp_path):
    ways = ("batch 8 accumulated 2 times (190 MiB, predicted)",)
    refused = replace(next(r for r in synthetic.comparison() if r.state == "refused"), ways=ways)
    cells = [
        new_markdown_cell("## Refused"),
        new_code_cell("x = 1"),
        new_code_cell("await panel", outputs=[figure_output(figures.run(refused))]),
    ]
    (tmp_path / "report.html").write_text(to_html(new_notebook(cells=cells))[0], encoding="utf-8")
    page = visit.open(tmp_path / "report.html")
    assert page.locator(".on-paper:visible").count() == 0
    assert "No step was done" in page.locator("figcaption").inner_text()
    page.emulate_media(media="print")
    text = page.locator("figure").inner_text()
    assert "predicted peak is above the budget" in text and f"Way out: {ways[0]}." in text
    assert page.locator(".bare:visible").count() == 0, "an empty cell would part a heading from what it heads"
    quiet(visit)


def test_what_a_failure_left_undone_says_so(visit, tmp_path):
    lines = {"tags": ["keep-input"]}
    ran = [
        new_code_cell("assert 1\nassert 2", metadata=lines, outputs=[output(emit.HELD, {"count": 2})]),
        new_code_cell("emit.table([])", outputs=[output(emit.TABLE, emit.table_payload([], "Ways out."))]),
    ]
    failed = new_code_cell("1 / 0", outputs=[new_output("error", ename="E", evalue="no", traceback=[])])
    after = [new_code_cell("assert 3\nassert 4", metadata=lines), new_code_cell("emit.provenance(facts)")]
    for name, cells in (("good", ran), ("bad", [*ran, failed, *after])):
        notebook = new_notebook(cells=cells)
        notebook.metadata["pintpot"] = {"command": "pintpot report x", "params": {"batch": 16, "batches": [4, 8]}}
        (tmp_path / f"{name}.html").write_text(to_html(notebook)[0], encoding="utf-8")
    page = visit.open(tmp_path / "good.html")
    assert page.locator(".held").inner_text() == "✓ All 2 assertions hold." and page.locator(".skipped").count() == 0
    assert "Ways out. Nothing to list" in page.locator("main").inner_text() and page.locator("button.save").count() == 0
    assert "batches 4, 8" in page.locator(".meta").inner_text() and "batch 16" not in page.locator(".meta").inner_text()
    page = visit.open(tmp_path / "bad.html")
    assert page.locator(".held").count() == 1
    assert page.locator("section.cell .skipped").count() == 2 and "assert 3" in page.locator("main").inner_text()
    assert "Not known" in page.locator(".provenance").inner_text()
    quiet(visit)


def test_narrow_window_does_not_scroll_sideways(visit, folder):
    visit.page.set_viewport_size({"width": 400, "height": 800})
    page = visit.open(folder / "clean" / "report.html")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    for chart in page.locator("figure svg[viewBox]:visible").all():
        box = chart.bounding_box()
        assert box["x"] + box["width"] <= 401 or chart.evaluate("e => e.closest('.pp-scroll') !== null")


def test_plotly_draws_under_the_policy(visit, folder):
    page = visit.open(folder / "plotly" / "report.html")
    page.wait_for_selector(".plotly svg.main-svg", timeout=30_000)
    assert page.locator(".plotly .scatterlayer .trace").count() == 1
    page.wait_for_timeout(300)
    assert visit.outside == [] and page.evaluate("window.pwned") is None


def test_the_gallery_lists_filters_and_links(visit, folder):
    page = visit.open(folder / "index.html")
    cards = page.locator(".card")
    assert cards.count() == 3
    page.get_by_label("Filter").fill("failed")
    assert page.locator(".card:visible").count() == 1
    assert page.locator("#count").inner_text() == "1 of 3"
    page.get_by_label("Filter").fill("")
    quiet(visit)
    page.locator(".card a", has_text="Synthetic").first.click()
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    assert page.locator("h1").inner_text().startswith("Synthetic")


def test_code_is_one_switch_away_and_a_failed_cell_is_never_hidden(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    blocks, switch = page.locator("details.code"), page.get_by_role("button", name="Show code")
    assert blocks.count() > 3 and page.locator("details.code:visible").count() == 0
    switch.click()
    assert page.locator("details.code[open]:visible").count() == blocks.count()
    page.get_by_role("button", name="Hide code").click()
    assert page.locator("details.code:visible").count() == 0
    quiet(visit)
    page = visit.open(folder / "hostile" / "report.html")
    assert page.locator(".failed details.code:visible").count() == page.locator(".failed details.code").count() > 0


def test_the_main_table_and_the_explorer_are_not_cut_at_1200_pixels(visit, folder):
    page = visit.open(folder / "clean" / "report.html")
    page.set_viewport_size({"width": 1200, "height": 900})
    cut = "e => e.scrollWidth - e.clientWidth"
    for frame in (page.locator("figure.table .scroll").first, page.locator(".pp-scroll").first):
        assert frame.evaluate(cut) <= 1


def test_rows_of_a_filterable_table_are_filtered(visit, tmp_path):
    table = figures.papers_table(papers())
    notebook = synthetic_notebook(synthetic.comparison()[:3], extra=[new_code_cell("t", outputs=[table_output(table)])])
    (tmp_path / "report.html").write_text(to_html(notebook)[0], encoding="utf-8")
    page = visit.open(tmp_path / "report.html")
    frame = page.locator("figure.table", has_text="PockEngine")
    frame.get_by_label("Filter").fill("pockengine")
    assert frame.locator("tbody tr:visible").count() == 1
    assert frame.locator(".row-filter span").inner_text() == "1 of 52 rows"
    quiet(visit)
