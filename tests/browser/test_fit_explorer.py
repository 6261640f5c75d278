"""The fit explorer answers other batches and lengths in the browser exactly as the library does."""

from __future__ import annotations

import json

import pytest
from test_modules import HOST

from workbench import figures
from workbench.case import Case
from workbench.core.profile import Tier
from workbench.core.units import format_size
from workbench.devices.model import get
from workbench.plan.fit_table import fit_table
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
                assert f"fits if {change.sentence} " in verdict
    page.get_by_label("Batch").fill("8")
    page.get_by_label("Length").fill("16")
    assert "(predicted)" in shown(page)["full"][1]
    assert visit.complaints == []
