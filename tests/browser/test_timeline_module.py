"""The timeline's moments: the slider, a click and the peak button show what each layer holds then."""

import json

import pytest
import synthetic
from test_modules import HOST

from workbench import figures
from workbench.core.profile import Tier
from workbench.core.units import format_size
from workbench.report import page as assets

pytestmark = pytest.mark.browser


@pytest.fixture
def info():
    return figures.one_step(synthetic.profile("full", Tier.MEASURED), "full", budget=300 * synthetic.MIB)


@pytest.fixture
def panel(visit, info):
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["timeline"]))
    page.evaluate(host, json.loads(json.dumps(info.data())))
    yield page
    page.evaluate("stop()")
    assert page.evaluate("host.children.length") == 0
    assert visit.complaints == []


def shown(page):
    rows = page.evaluate(
        "[...host.querySelectorAll('.pp-held tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    return {row[0]: row[2] for row in rows}


def expected(info, moment):
    """What each layer's cell must say."""
    (step,) = info.steps
    said = dict.fromkeys(step.layers, "nothing")
    held = step.held(moment)
    for layer in step.layers:
        parts = [(c, held[layer, c]) for c in info.categories if (layer, c) in held]
        if parts:
            words = [f"{c} {format_size(size)}" if len(parts) > 1 else c for c, size in parts]
            said[layer] = f"{format_size(sum(s for _, s in parts))}: {', '.join(words)}"
    return said


def test_slider_click_and_peak_show_what_each_layer_holds(panel, info):
    (step,) = info.steps
    assert shown(panel) == expected(info, step.peak_index)
    slider = panel.get_by_label("Moment")
    slider.focus()
    panel.keyboard.press("Home")
    assert shown(panel) == expected(info, 0) != expected(info, step.peak_index)
    panel.keyboard.press("ArrowRight")
    panel.keyboard.press("ArrowRight")
    assert shown(panel) == expected(info, 2)
    box = panel.locator("svg[role=img]").bounding_box()
    panel.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    at = int(slider.input_value())
    assert at > step.peak_index and step.phases[at] in panel.locator(".pp-detail").text_content()
    assert shown(panel) == expected(info, at)
    widths = panel.locator(".pp-held tbody tr:first-child rect").evaluate_all(
        "e => e.map(r => +r.getAttribute('width'))"
    )
    assert len(widths) == sum((step.layers[0], c) in step.held(at) for c in info.categories) and min(widths) > 0
    panel.get_by_role("button", name="Go to the peak").press("Enter")
    assert shown(panel) == expected(info, step.peak_index)


def test_twenty_moments_are_drawn_one_after_another(panel, record_property):
    took = panel.evaluate("""() => {
      const slider = host.querySelector('input[type=range]'), started = performance.now();
      for (let i = 0; i < 20; i++) {
        slider.value = i; slider.dispatchEvent(new Event('input')); document.body.offsetHeight;
      }
      return (performance.now() - started) / 20;
    }""")
    record_property("milliseconds from slider to drawing", took)


def test_a_run_from_before_shows_its_peak_alone_and_unplaced_bytes_are_said(panel, info):
    data = json.loads(json.dumps(info.data()))
    panel.evaluate("(info) => model.set('info', info)", data | {"steps": [data["steps"][0] | {"unplaced": 2048}]})
    assert "2.00 KiB above" in panel.text_content("body")
    panel.get_by_label("Moment").press("Home")
    assert "above what any event" not in panel.text_content("body")
    old = {"layers": [], "changes": [], "peak_layers": [["encoder.layer.0", 4096], ["classifier", 1024]]}
    panel.evaluate("(info) => model.set('info', info)", data | {"steps": [data["steps"][0] | old]})
    assert shown(panel) == {"encoder.layer.0": "4.00 KiB", "classifier": "1.00 KiB"}
    assert "at the peak" in panel.locator("caption").text_content()
