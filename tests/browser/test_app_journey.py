"""A notebook served as a page of panels: nothing from outside, nobody in without the token, and the panels work."""

import importlib.util
import urllib.error
import urllib.request

import pytest
from journey import absent, journey
from test_lab_journey import CANCEL, MOVE

pytestmark = pytest.mark.browser

#: How bright the page and a panel's words are, 0 to 255: the mean of red, green and blue.
SHADES = """(panel) => {
  const bright = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
  return { paper: bright(getComputedStyle(document.body).backgroundColor), ink: bright(getComputedStyle(panel).color) };
}"""


def answered(url):
    try:
        with urllib.request.urlopen(url, timeout=180) as reply:
            return reply.status, reply.url
    except urllib.error.HTTPError as error:
        return error.code, url


def test_a_notebook_as_a_page_of_panels(journeying, tmp_path, record_property):
    if importlib.util.find_spec("voila") is None:
        absent("Voila is not installed: its journey was NOT made (pip install 'pintpot[app]')")
    page = journeying.page
    page.set_default_timeout(90_000)
    with journey(tmp_path, "app", "first-run", "-p", "profile=quick", "-p", "epochs=400") as server:
        own = f"http://127.0.0.1:{server.port}"
        assert server.url.startswith(own)
        status, where = answered(own)
        assert "/login" in where or status == 403, "nobody comes in without the token"
        assert answered(f"{own}/voila/files/00_first_run.ipynb?{server.url.partition('?')[2]}")[0] in (403, 404)
        assert server.kernels() == [], "a stranger starts no kernel"

        page.goto(server.url)
        page.locator(".pp-panel[data-state=running]").first.wait_for()
        watched = page.locator(".pp-panel[data-state]").first
        spent = watched.evaluate(CANCEL)
        assert "the steps done are kept and marked" in watched.locator(".pp-verdict").text_content()
        fit = page.locator(".pp-panel:has(.pp-fit)")
        fit.wait_for()
        slider = fit.get_by_role("slider", name="Budget")
        slider.press("Home")
        assert fit.locator("tr[data-state=fits]").count() == 0
        slider.press("End")
        assert fit.locator("tr[data-state=fits]").count() == 6
        moved = fit.evaluate(MOVE)
        assert page.locator("text=widgets.run").count() == 0, "no code"
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
        seen = {}
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(f"document.body.dataset.jpThemeLight === '{str(scheme == 'light').lower()}'")
            seen[scheme] = watched.evaluate(SHADES)
        assert seen["light"]["paper"] > 200 > 100 > seen["light"]["ink"], seen
        assert seen["dark"]["ink"] > 200 > 100 > seen["dark"]["paper"], seen
        assert journeying.beyond(server.port) == []
        assert [c for c in journeying.complaints if "shared" not in c] == []
        assert len(server.kernels()) == 1
        assert "Traceback" not in server.said  # while it serves: a kernel stopped within a cell ends in one of its own
        record_property("milliseconds until cancelled", spent)
        record_property("milliseconds from slider to verdicts", moved)
