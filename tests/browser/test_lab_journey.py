"""A new user's way through JupyterLab: start it, run the tour, cancel, ask what would fit, restart, run again."""

import importlib.util
import re
from contextlib import suppress

import pytest
from journey import absent, journey, tour
from playwright.sync_api import TimeoutError

pytestmark = pytest.mark.browser
THREADS = "[t.name for t in __import__('threading').enumerate() if t.name == 'pintpot-run']"

#: Milliseconds from the click until the panel says that the run was cancelled.
CANCEL = """async (panel) => {
  const button = [...panel.querySelectorAll('button')].find((b) => b.textContent === 'Cancel');
  const begun = performance.now();
  button.click();
  while (panel.dataset.state !== 'cancelled') {
    await new Promise(requestAnimationFrame);
    if (performance.now() - begun > 10000) throw new Error(panel.textContent);
  }
  return performance.now() - begun;
}"""
#: Milliseconds for each of 40 places of the budget, until the table says what fits there and is laid out.
MOVE = """(panel) => {
  const slider = panel.querySelector('input[type=range]');
  const begun = performance.now();
  for (let i = 0; i <= 40; i++) {
    slider.value = i * 12.5;
    slider.dispatchEvent(new Event('input'));
    panel.querySelector('table').getBoundingClientRect();
  }
  return (performance.now() - begun) / 41;
}"""

#: Widths of the bars that the map of kept bytes draws.
DRAWN = "(map) => [...map.querySelectorAll('.pp-area')].map((bar) => +bar.getAttribute('width'))"


def run_all(page, until):
    """The menu's command until its effect shows; a click may be lost although the kernel already says that it idles."""
    page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
    for _ in range(3):
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        page.locator('li[data-command="runmenu:run-all"]').click()
        with suppress(TimeoutError):
            until.wait_for()
            return
    raise AssertionError(page.locator("#jp-main-statusbar").inner_text())


def restart(page):
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Kernel$")).click()
    page.locator('li[data-command="kernelmenu:restart"]').click()
    page.locator(".jp-Dialog-button.jp-mod-accept").click()
    for words in ("| Restarting", "| Idle"):
        page.locator("#jp-main-statusbar", has_text=words).wait_for()


def usable(panel, name):
    return panel.get_by_role("button", name=name, exact=True).get_attribute("aria-disabled") == "false"


def test_the_tour_in_jupyterlab(journeying, tmp_path, record_property):
    if importlib.util.find_spec("jupyterlab") is None:
        absent("JupyterLab is not installed: its journey was NOT made (pip install 'pintpot[lab]')")
    page = journeying.page
    page.set_default_timeout(90_000)
    tour(tmp_path, profile='"quick"', epochs="400.0")
    with journey(tmp_path, "lab") as server:
        page.goto(server.url)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        assert page.url.endswith("/lab/tree/00_first_run.ipynb"), "it opens at the tour"
        watched = page.locator(".jp-OutputArea .pp-panel[data-state]").first
        running = page.locator(".pp-panel[data-state=running]").first
        run_all(page, until=running)
        spent = [watched.evaluate(CANCEL)]
        said = watched.locator(".pp-verdict").text_content()
        assert re.search(
            r"cancelled, stopped on request; the steps done are kept and marked\. Step [1-9]\d* of 10000", said
        )

        fit = page.locator(".jp-OutputArea .pp-panel:has(.pp-fit)")
        fit.wait_for()
        assert page.locator(".jp-OutputArea table", has_text="cancelled").count() == 1, (
            "the partial result is in the table"
        )
        slider = fit.get_by_role("slider", name="Budget")
        before = fit.locator("tbody td:nth-child(2)").all_text_contents()
        slider.press("Home")
        assert fit.locator("tr[data-state=fits]").count() == 0
        slider.press("End")
        assert fit.locator("tr[data-state=fits]").count() == 6
        assert fit.locator("tbody td:nth-child(2)").all_text_contents() != before
        most = float(slider.input_value())
        slider.press("ArrowLeft")
        assert float(slider.input_value()) < most, "arrow keys are the slider's, not the notebook's"
        slider.press("End")
        moved = fit.evaluate(MOVE)

        kept = page.locator(".jp-OutputArea .pp-panel:has(.pp-choice:not(.pp-guess))")
        said, drawn = kept.get_by_role("status"), kept.get_by_role("application")
        first = drawn.evaluate(DRAWN)
        assert said.text_content().startswith("full: ") and len(first) > 3
        kept.get_by_role("radio", name="last-blocks", exact=True).check()
        assert said.text_content().startswith("last-blocks: ") and "% of where the toggles begin" in said.text_content()
        last = drawn.evaluate(DRAWN)
        assert sum(last) < 0.9 * sum(first), "what is kept below the trained blocks is gone from the drawing"
        kept.get_by_role("radio", name="last-blocks", exact=True).press("Tab")
        page.keyboard.press("ArrowRight")
        assert "kept as: int8" in said.text_content(), "arrow keys are the toggles', not the notebook's"
        assert sum(drawn.evaluate(DRAWN)) < 0.9 * sum(last)

        watched.get_by_role("button", name="Start again").click()
        running.wait_for()
        cell = page.locator(".jp-CodeCell", has_text="watched = widgets.run")
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.locator(".pp-panel[data-state=running]").first.wait_for()
        assert page.locator(".pp-panel[data-state=running]").count() == 1, "the cell's earlier run is cancelled"
        assert server.asked(THREADS) == ["pintpot-run"]

        restart(page)
        gone = page.locator(".pp-panel[data-state=gone]")
        gone.wait_for()
        assert "run this cell again" in gone.locator(".pp-verdict").text_content()
        assert not usable(gone, "Cancel") and not usable(gone, "Start")
        slider.press("Home")
        assert fit.locator("tr[data-state=fits]").count() == 0, "what needs no kernel works on"
        assert len(server.kernels()) == 1 and server.asked(THREADS) == []

        run_all(page, until=running)
        spent.append(watched.evaluate(CANCEL))
        page.locator(".jp-OutputArea table", has_text=re.compile("versions", re.I)).wait_for()
        assert server.asked(THREADS) == [], "no thread outlives the run"
        assert page.locator(".Toastify__toast").count() == 0, "nothing covers the notebook"
        assert journeying.beyond(server.port) == []
        known = ("terminals plugin", "Connection lost, reconnecting in 0 seconds")  # ours, and the restart's
        assert [c for c in journeying.complaints if not any(k in c for k in known)] == []
        assert "Traceback" not in server.said
    record_property("milliseconds until cancelled", spent)
    record_property("milliseconds from slider to verdicts", moved)
