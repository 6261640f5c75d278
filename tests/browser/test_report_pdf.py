"""A report on paper: printed by the browser itself, all of it, and replaced whole."""

import shutil

import pytest

from workbench.core.errors import ResourceMissing
from workbench.report import pdf

pytestmark = pytest.mark.browser


@pytest.fixture
def page(tmp_path, browser):
    made = tmp_path / "report.html"
    made.write_text("<!doctype html><title>t</title><h1>One</h1><p style='break-before:page'>Two</p>", "utf-8")
    return made


def test_a_page_is_printed_beside_itself(page):
    page.with_suffix(".pdf").write_bytes(b"older")
    made = pdf.print_to_pdf(page)
    content = made.read_bytes()
    assert made == page.with_suffix(".pdf") and content.startswith(b"%PDF-") and b"%%EOF" in content[-16:]
    assert content.count(b"/Type /Page\n") == 2
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html", "report.pdf"], "nothing is left behind"


def test_what_panels_draw_after_the_page_has_loaded_is_printed(page):
    later = (
        "setTimeout(() => document.body.insertAdjacentHTML('beforeend', '<p style=break-before:page>Three</p>'), 900)"
    )
    page.write_text(f"{page.read_text('utf-8')}<script>{later}</script>", "utf-8")
    assert pdf.print_to_pdf(page).read_bytes().count(b"/Type /Page\n") == 3


def test_without_a_browser_it_says_what_to_install(page, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ResourceMissing, match="chromium"):
        pdf.print_to_pdf(page)
    assert not page.with_suffix(".pdf").exists()
