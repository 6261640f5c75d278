"""Every panel and a report, for eyes and keys of every kind: axe-core, contrast, focus, narrow and enlarged."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from journey import absent
from make_notebook import synthetic_notebook
from test_grid_and_compare import points
from test_modules import HOST
from test_run_module import WORDS, record

from workbench import figures
from workbench.lens.visited import Visit, Visits
from workbench.records.schema import State
from workbench.report import page as assets
from workbench.report.exporter import to_html

pytestmark = pytest.mark.browser
MIB = synthetic.MIB

#: Where a panel stands: a report follows the system, JupyterLab its own theme.
LAB = "--jp-ui-font-family: sans-serif; --jp-layout-color0: {0}; --jp-ui-font-color1: {1}; background: {0}; color: {1}"
PLACES = {
    "report-light": ("light", ""),
    "report-dark": ("dark", ""),
    "lab-light": ("light", LAB.format("#fff", "rgba(0,0,0,.87)")),
    "lab-dark": ("light", LAB.format("#111", "rgba(255,255,255,.87)")),
}


def gradients():
    records = [synthetic.run("head", 0), synthetic.run("bias", 0)]
    ratios = [
        tuple(
            replace(
                s,
                layer_updates={k: v / 9 for k, v in s.layer_norms.items()},
                layer_cosines={k: v - 0.05 for k, v in s.layer_norms.items() if r.method == "head" and s.step % 8 == 0},
            )
            for s in r.steps
        )
        for r in records
    ]
    return figures.gradients([replace(r, steps=steps) for r, steps in zip(records, ratios)])


def visited():
    def way(name, back):
        layers = (Visit(f"block.{i}", 5, back, 100, 200 * bool(back), 64, 10, 5) for i in (0, 1))
        return Visits(name, tuple(layers))

    return figures.visited([way("full", 9), way("mezo", 0)])


EXAMPLES = {
    "pareto": lambda: [
        figures.pareto(synthetic.comparison()),
        figures.pareto(synthetic.comparison()[:3], 200 * MIB, planned=points(), live=True, problem="The disk is full."),
        figures.pareto(synthetic.comparison()[:3], 200 * MIB, planned=points(), live=True, doing="Run 1 of 3"),
    ],
    "timeline": lambda: [figures.timeline(synthetic.comparison())],
    "fit": lambda: [figures.fit(synthetic.comparison())],
    "visited": lambda: [visited()],
    "saved_map": lambda: [figures.saved_map(synthetic.saved_map())],
    "budget_search": lambda: [figures.budget_search(*synthetic.budget_search())],
    "run": lambda: [
        figures.run(record(), stage="running", live=True, **WORDS),
        figures.run(record(State.OVER_BUDGET, 40, reason="the step passes it", ways=("batch 4",)), live=True, **WORDS),
    ],
    "grid": lambda: [
        figures.grid(points(), 200 * MIB, live=True),
        figures.grid(points(), 200 * MIB, live=True, doing="Run 1 of 3", problem="The disk is full."),
    ],
    "compare": lambda: [
        figures.compare([synthetic.run("lora", 0), synthetic.run("lora", 1), synthetic.run("bias", 0)])
    ],
    "gradients": lambda: [gradients()],
    "guess": lambda: [
        figures.guess("Which is larger?", ["one", "two"], live=True),
        figures.guess("Which is larger?", ["one", "two"], choice=0, answer="two", because="It is.", live=True),
    ],
}

JS = (Path(__file__).parent / "reach.js").read_text("utf-8")


def ask(page, what, *values):
    return page.evaluate(f"{JS.strip()}.{what}({', '.join(map(str, values))})")


def placed(page, kind, info, place):
    scheme, style = PLACES[place]
    page.emulate_media(color_scheme=scheme)
    sheet = assets.style() if place.startswith("report") else assets.panel_style()
    attributes = "" if place.startswith("report") else f'data-jp-theme-light="{str(place == "lab-light").lower()}"'
    page.set_content(
        f'<!doctype html><html lang="en"><title>host</title><style>{sheet}</style>'
        f'<body style="{style}" {attributes}><main><h1>Host</h1></main></body></html>'
    )
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()[kind])).replace(
        "document.body.append", "document.querySelector('main').append"
    )
    page.evaluate(host, json.loads(json.dumps(info.data())))


def violations(page, *rules):
    """What axe-core objects to, by all of its rules or by those that are named."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        absent("axe-core is not installed: NOTHING was checked by it (pip install 'pintpot[test]')")
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{v['id']} ({v['impact']}): {n['html'][:120]} {n['failureSummary'][:200]}" for v in found for n in v["nodes"]
    ]


def test_every_module_is_checked_here():
    assert set(EXAMPLES) == set(assets.modules())


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_a_panel_is_within_everybodys_reach(visit, kind):
    page, shots = visit.page, os.environ.get("PINTPOT_SHOTS")
    page.set_viewport_size({"width": 1100, "height": 900})
    for place in PLACES:
        for i, info in enumerate(EXAMPLES[kind]()):
            placed(page, kind, info, place)
            if shots:
                page.screenshot(path=f"{shots}/{kind}-{i}-{place}.png", full_page=True)
            # Names and roles are the same everywhere; colours are not.
            assert violations(page, *([] if place == "report-light" else ["color-contrast"])) == [], place
            assert ask(page, "faint") == [], place


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_a_panel_is_used_by_keys_and_shows_where_they_are(visit, kind):
    page = visit.page
    placed(page, kind, EXAMPLES[kind]()[0], "report-light")
    count = ask(page, "controls")
    assert count
    reached = set()
    for _ in range(count):
        page.keyboard.press("Tab")
        number, seen, where = ask(page, "focused")
        assert seen, f"no visible focus: {where}"
        reached.add(number)
    assert reached == {str(i) for i in range(count)}


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_a_panel_is_read_in_a_narrow_window_and_enlarged(visit, kind):
    """768 pixels, 1280 at 200 %, which a page sees as 640, a panel of 360, and a window of 360."""
    page, shots = visit.page, os.environ.get("PINTPOT_SHOTS")
    for place in ("report-light", "lab-light"):
        placed(page, kind, EXAMPLES[kind]()[0], place)
        for width in (768, 640, 408, 360):
            page.set_viewport_size({"width": width, "height": 900})
            if shots:
                page.screenshot(path=f"{shots}/{kind}-{width}-{place}.png", full_page=True)
            assert not ask(page, "sideways"), (place, width)
            if width > 408:
                assert ask(page, "cut") == [], (place, width)
            if width > 360:
                assert ask(page, "small", 10) == [], (place, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_within_everybodys_reach(visit, tmp_path, scheme):
    (tmp_path / "report.html").write_text(to_html(synthetic_notebook(synthetic.comparison()))[0], encoding="utf-8")
    visit.page.emulate_media(color_scheme=scheme)
    page = visit.open(tmp_path / "report.html")
    assert violations(page) == []
    page.get_by_role("button", name="Show code").click()
    assert violations(page) == []
    assert ask(page, "faint") == []
    for width in (768, 640):
        page.set_viewport_size({"width": width, "height": 900})
        assert not ask(page, "sideways"), width
        assert violations(page) == [], width
        cut = "e => e.scrollWidth - e.clientWidth"
        assert width < 768 or page.locator("figure.table .scroll").first.evaluate(cut) <= 1, "the main table is whole"
    assert visit.complaints == []
