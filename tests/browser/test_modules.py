"""Each panel module on a blank page with a stub host, as a front end would call it."""

import json

import pytest
import synthetic

from workbench import figures
from workbench.report import page as assets

pytestmark = pytest.mark.browser

HOST = """(info) => {
  const listeners = {};
  const el = document.createElement('div');
  document.body.append(el);
  const state = { info };
  const model = {
    get: (k) => state[k],
    set: (k, v) => { state[k] = v; (listeners['change:' + k] ?? []).forEach((f) => f()); },
    on: (e, f) => { (listeners[e] ??= []).push(f); },
    off: (e, f) => { listeners[e] = listeners[e].filter((g) => g !== f); },
    save_changes() {},
    send() {},
  };
  window.stop = MODULE.render({ model, el });
  Object.assign(window, { model, listeners, host: el });
}"""


@pytest.mark.parametrize("kind", ["pareto", "timeline", "fit"])
def test_module_draws_redraws_and_cleans_up(visit, kind):
    page = visit.page
    page.set_content("<!doctype html><title>host</title>")
    records = synthetic.comparison()
    make = getattr(figures, kind)
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()[kind]))
    page.evaluate(host, json.loads(json.dumps(make(records).data())))
    assert page.evaluate("host.querySelectorAll('svg').length") > 0
    names = page.evaluate(
        "[...host.querySelectorAll('input,select,button')].map(e => e.labels?.length || e.textContent)"
    )
    assert names and all(names), "every control has a name"
    page.evaluate("(info) => model.set('info', info)", make(records[:3]).data())
    assert "mezo" not in page.evaluate("host.textContent")
    page.evaluate("(info) => model.set('info', info)", make([]).data())
    assert page.evaluate("host.querySelectorAll('p').length") == 1
    page.evaluate("stop()")
    assert page.evaluate("host.children.length") == 0
    assert page.evaluate("listeners['change:info'].length") == 0
    assert visit.complaints == []


@pytest.mark.parametrize("kind", ["timeline", "fit", "saved_map", "guess"])
def test_two_panels_of_a_notebook_share_no_name(visit, kind):
    """Each has loaded a module of its own there, so neither can count the other's names."""
    page = visit.page
    page.set_content("<!doctype html><title>host</title>")
    infos = {"saved_map": lambda: figures.saved_map(synthetic.saved_map()), "guess": lambda: figures.guess("?", "ab")}
    info = infos.get(kind, lambda: getattr(figures, kind)(synthetic.comparison()))()
    code = HOST.replace("MODULE", assets.as_expression(assets.modules()[kind]))
    found = []
    for _ in range(2):
        page.evaluate(code, json.loads(json.dumps(info.data())))
        found.append(
            page.evaluate("[...host.querySelectorAll('[id],[name]')].map((e) => e.id || e.getAttribute('name'))")
        )
    assert found[0] and not set(found[0]) & set(found[1])
    assert page.evaluate("document.querySelectorAll('input:checked').length") in (0, 6), "no panel unchecks another's"


def test_many_methods_name_only_the_front(visit):
    from dataclasses import replace

    records = [replace(synthetic.run("lora", 0), method=f"method_{i}") for i in range(30)]
    records = [
        replace(
            r, measured=replace(r.measured, peak=r.measured.peak + i * 10**6), score={**r.score, "value": 0.9 - i / 100}
        )
        for i, r in enumerate(records)
    ]
    page = visit.page
    page.set_content(f"<!doctype html><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["pareto"]))
    page.evaluate(host, figures.pareto(records).data())
    assert page.locator(".pp-mark").count() == 30
    assert page.locator(".pp-mark text:visible").count() == 1


def test_visited_module_switches_ways_and_quantities(visit):
    from workbench.lens.visited import Visit, Visits

    def way(name, backward):
        return Visits(
            name, tuple(Visit(f"block.{i}", 5, backward, 100, 200 * bool(backward), 64, 10, 5) for i in (0, 1))
        )

    page = visit.page
    page.set_content(f"<!doctype html><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["visited"]))
    page.evaluate(host, json.loads(json.dumps(figures.visited([way("full", 9), way("mezo", 0)]).data())))
    assert "2 of 2 layers out" in page.locator("[aria-live]").text_content()
    page.get_by_label("Way of tuning").select_option("0")
    assert "400 FLOP backward" in page.locator("[aria-live]").text_content()
    page.get_by_label("Show").select_option("2")
    assert "128 B kept" in page.locator("[aria-live]").text_content()
    page.evaluate("(info) => model.set('info', info)", figures.visited([]).data())
    assert page.evaluate("host.querySelectorAll('p').length") == 1
    page.evaluate("stop()")
    assert page.evaluate("listeners['change:info'].length") == 0
    assert visit.complaints == []
