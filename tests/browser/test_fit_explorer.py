"""The fit explorer answers other batches and lengths in the browser exactly as the library does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from test_modules import HOST

from workbench import figures
from workbench.case import Case
from workbench.core.errors import BadInput
from workbench.core.profile import Tier
from workbench.core.units import format_size
from workbench.devices.model import get
from workbench.plan.fit_table import fit_table
from workbench.plan.ways import Change
from workbench.report import page as assets

pytestmark = pytest.mark.browser
METHODS = ("full", "head", "mezo", "shira", "prefix-tuning")


@pytest.fixture(scope="module")
def table():
    cases = [Case("tokens", "tiny-bert", m, 8, 16) for m in METHODS]
    return fit_table(cases, get("raspberry-pi-4"), tier=Tier.FAKE)


def shown(page):
    """Verdict, peak and step time by method, as a reader sees them."""
    rows = page.evaluate("[...host.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    return {row[0]: (row[1], row[3], row[4]) for row in rows}


def opened(visit, table, budget, verdicts=()):
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["fit"]))
    page.evaluate(host, json.loads(json.dumps(figures.fit_table(table, budget, verdicts).data())))
    return page


def test_what_cannot_be_asked_for_is_said_and_greys_the_table(visit, table):
    page = opened(visit, table, 2**22)
    with pytest.raises(BadInput) as refused:
        table.at(2**22, 8, 5000)
    sentence = str(refused.value).split("expected ")[1].rstrip(".")
    for field, good, bad, words in (
        ("Length", "16", ("5000", "3", ""), sentence),
        ("Batch", "8", ("0", "-3", "2.5", "7000000", ""), table.batches[2]),
    ):
        for value in bad:
            page.get_by_label(field).fill(value)
            assert page.get_by_label(field).get_attribute("aria-invalid") == "true"
            assert words in page.get_by_role("alert").text_content()
            assert page.locator(".pp-stale table").count() == 1
        page.get_by_label(field).fill(good)
        assert page.locator(".pp-refused").text_content() == "" and page.locator(".pp-stale").count() == 0
    assert visit.complaints == []


def test_a_verified_change_goes_before_a_fitted_one(visit, table):
    budget = {v.method: v.peak for v in table.at(2**30)}["full"] - 1
    found = [
        replace(v, changes=(*v.changes, Change("update in backward", None, budget - 5))) if v.method == "full" else v
        for v in table.at(budget)
    ]
    page = opened(visit, table, budget, found)
    assert "fits if update in backward (predicted; 1 B over" in shown(page)["full"][0]
    page.get_by_label("Batch").fill("9")
    assert "accumulated" in shown(page)["full"][0] and "(fitted; " in shown(page)["full"][0]


def test_an_empty_filter_the_end_of_the_slider_and_large_energies_are_said_plainly(visit, table):
    page = opened(visit, table, 2**22)
    page.get_by_label("Filter").fill("nothing like it")
    assert "no method matches" in page.evaluate("host.textContent") and "0 of 0 methods shown" in summary(page)
    page.get_by_label("Filter").fill("head")
    assert "1 of 1 methods shown" in summary(page) and "no method matches" not in page.evaluate("host.textContent")
    page.get_by_label("Filter").fill("")
    page.get_by_label("Budget").fill("500")
    whole = max(size for size, _ in table.device.marks)
    assert f"under {format_size(whole)}" in summary(page)
    page.get_by_label("Batch").fill("1000000")
    text = page.evaluate("host.textContent")
    assert "kJ" in text and "e+" not in text


def summary(page):
    return page.locator(".pp-detail").first.text_content()


def test_batch_and_length_are_answered_without_a_kernel(visit, table):
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    peak = {v.method: v.peak for v in table.at(2**30)}["full"]
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["fit"]))
    page.evaluate(host, json.loads(json.dumps(figures.fit_table(table, peak).data())))
    assert "(predicted)" in shown(page)["full"][1] and "fits" in shown(page)["full"][0]
    for batch, length in ((1, 16), (20, 40), (3, 12)):
        page.get_by_label("Batch").fill(str(batch))
        page.get_by_label("Length").fill(str(length))
        found = shown(page)
        for v in table.at(peak, batch, length):
            verdict, size, time = found[v.method]
            if v.peak is None:
                assert size == "–" and ("cannot" in verdict or "not predicted" in verdict)
                continue
            assert size == f"{format_size(v.peak)} (fitted)"
            assert time.endswith("(extrapolated)")
            assert (v.peak <= peak) == ("free" in verdict)
            for change in v.changes:
                assert f"fits if {change.sentence} ({change.source}; " in verdict
    page.get_by_label("Batch").fill("8")
    page.get_by_label("Length").fill("16")
    assert "(predicted)" in shown(page)["full"][1]
    assert visit.complaints == []
