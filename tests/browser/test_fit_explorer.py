"""The fit explorer answers other batches and lengths in the browser exactly as the library does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import synthetic
from test_modules import HOST

from workbench import figures
from workbench.case import Case
from workbench.core.errors import BadInput
from workbench.core.profile import Tier
from workbench.core.units import format_size
from workbench.devices.model import get
from workbench.plan.change import Change
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


def test_what_to_type_for_a_change_is_said_and_stays_in_one_piece(visit, table):
    budget = {v.method: v.peak for v in table.at(2**30)}["full"] - 1
    change = Change("batch 4 and bf16", None, budget - 5, options="--batch 4 --set weights=bf16")
    found = [replace(v, changes=(change,)) if v.method == "full" else v for v in table.at(budget)]
    page = opened(visit, table, budget, found)
    assert "fits if batch 4 and bf16: --batch 4 --set weights=bf16 (predicted; " in shown(page)["full"][0]
    pieces = page.locator("tr", has_text="batch 4 and bf16").locator("code")
    assert pieces.all_text_contents() == ["--batch 4", "--set weights=bf16"]
    page.set_viewport_size({"width": 420, "height": 900})
    assert pieces.evaluate_all("e => e.every((code) => code.getClientRects().length === 1)")
    page.set_viewport_size({"width": 1100, "height": 900})


def test_an_empty_filter_the_end_of_the_slider_and_large_energies_are_said_plainly(visit, table):
    page = opened(visit, table, 2**22)
    page.get_by_label("Filter").fill("nothing like it")
    assert "no method matches" in page.evaluate("host.textContent") and "0 of 0 methods shown" in summary(page)
    page.get_by_label("Filter").fill("head")
    assert "1 of 1 methods shown" in summary(page) and "no method matches" not in page.evaluate("host.textContent")
    page.get_by_label("Filter").fill("fits if")
    kept = page.locator(".pp-fit tbody tr")
    assert kept.count() and all(words.count("fits if") for words in kept.all_text_contents()), "by verdict as well"
    assert "score" not in page.get_by_label("Sort by").text_content(), "only what is there is sorted by"
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


UNITS = {"mJ": 1e-3, "J": 1, "ms": 1e-3, "s": 1, "min": 60}


def test_devices_are_changed_without_a_kernel_and_memory_stays(visit, table):
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["fit"]))
    page.evaluate(host, json.loads(json.dumps(figures.fit_table(table, 2**24).data())))
    assert page.get_by_label("Task").is_disabled() and page.get_by_label("Model").is_disabled()
    assert "in a notebook by widgets.explore" in page.text_content("body")
    summary = page.locator(".pp-detail")
    assert summary.text_content().startswith("tokens on tiny-bert: ")
    peaks = {name: row[1] for name, row in shown(page).items()}
    for name in ("jetson-nano", "esp32-s3", "raspberry-pi-4"):
        page.get_by_label("Device").select_option(name)
        device = get(name)
        assert f" on {name}, batch 8" in summary.text_content()
        assert page.get_by_label("Mark").locator("option").count() == len(device.marks) + 1
        found = shown(page)
        assert {method: row[1] for method, row in found.items()} == peaks
        for v in replace(table, device=device, costs={}).at(2**24):
            if v.peak is None or v.step_time.value is None:
                assert found[v.method][2] == "–"
                continue
            number, unit, kind = found[v.method][2].split(" ", 2)
            assert float(number) * UNITS[unit] == pytest.approx(v.step_time.value, rel=0.02), (name, v.method)
            assert kind == "(extrapolated)"
    row = page.locator("tbody tr").filter(has=page.get_by_role("rowheader", name="full"))
    layer = next(v.layer for v in table.at(2**24) if v.method == "full")
    where = row.locator(".pp-where")
    assert f"in {layer}" in where.text_content(), "the binding layer is read, not hovered for"
    page.set_viewport_size({"width": 768, "height": 900})
    broken = where.evaluate(BROKEN)
    assert all(line.endswith((".", "_")) for line in broken[:-1]), f"names break between parts: {broken}"
    assert visit.complaints == []


def test_a_device_with_less_memory_lowers_the_budget_and_says_so(visit, table):
    page = opened(visit, table, 2**24)
    assert "lowered" not in summary(page) and "free there" not in summary(page)
    free = get("stm32f746").budget
    page.get_by_label("Device").select_option("stm32f746")
    said = f"fit under {format_size(free)} on stm32f746"
    assert said in summary(page) and "The budget was lowered from 16.0 MiB to what is free there." in summary(page)
    for v in table.at(free):
        assert (v.peak is not None and v.peak <= free) == ("✓" in shown(page)[v.method][0])
    page.get_by_label("Mark").select_option(label="320 KiB (whole memory)")
    assert "under 320 KiB on stm32f746" in summary(page)
    assert f"That is more than the {format_size(free)} which are free there." in summary(page)
    page.get_by_label("Device").select_option("raspberry-pi-4")
    assert "under 320 KiB on raspberry-pi-4" in summary(page), "what the reader chose last stays"
    page = opened(visit, table, 2**24)
    for name in ("stm32f746", "raspberry-pi-4"):
        page.get_by_label("Device").select_option(name)
    assert "under 16.0 MiB" in summary(page) and "lowered" not in summary(page)
    assert visit.complaints == []


def test_a_smaller_batch_makes_the_same_step(visit, table, record_property):
    sizes = table.methods["full"]
    budget = sizes.accumulated_peak(10, 16, 2)
    page = opened(visit, table, budget)
    page.get_by_label("Batch").fill("16")
    assert "fits if batch 8 accumulated 2 times (fitted; " in shown(page)["full"][0]
    assert "batch 8 accumulated 2 times" in {v.method: v for v in table.at(budget, 16)}["full"].changes[0].sentence
    assert "settings were tried at batch 8 alone" not in summary(page), "every method has a way out"
    page.get_by_label("Batch").fill("1000000")
    assert "Of ways out, settings were tried at batch 8 alone." in summary(page)
    record_property("milliseconds from slider to verdicts at a batch of a million", page.evaluate(QUICK))


#: The lines on which a layer's name stands.
BROKEN = """(where) => {
    const lines = [], range = document.createRange();
    for (const part of [...where.childNodes].filter((node) => node.nodeType === 3).slice(1)) {
        range.selectNodeContents(part);
        if (new Set([...range.getClientRects()].map((r) => Math.round(r.top))).size > 1) lines.push(part.data + '|');
        lines.push(part.data);
    }
    return lines;
}"""


QUICK = """() => {
    const slider = host.querySelector('input[type=range]'), began = performance.now();
    slider.dispatchEvent(new Event('input'));
    return performance.now() - began;
}"""


def test_a_choice_is_asked_for_shown_as_busy_and_taken_back_when_it_fails(visit, table):
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["fit"]))
    host = host.replace("send() {}", "send: (m) => (window.sent ??= []).push(m)")
    choices = {"tokens": ("tiny-bert", "tiny-vit"), "digits": ("tiny-cnn",)}
    info = json.loads(json.dumps(figures.fit_table(table, 2**24, choices=choices).data()))
    page.evaluate(host, info)
    model = page.get_by_label("Model")
    model.focus()
    model.select_option("tiny-vit")
    set_ = {"batch": 8, "length": 16, "budget": 2**24, "device": "raspberry-pi-4"}
    assert page.evaluate("sent.at(-1)") == {"do": "choose", "task": "tokens", "model": "tiny-vit", **set_}
    page.evaluate("model.set('doing', 'Predicting full on tiny-vit.')")
    assert page.locator("p[role=status]").text_content() == "… Predicting full on tiny-vit."
    assert page.locator(".pp-scroll").get_attribute("aria-busy") == "true"
    page.get_by_label("Filter").fill("full")
    assert len(shown(page)) == 1, "what is shown can be used meanwhile"
    page.evaluate("model.set('doing', ''), model.set('problem', 'It cannot.')")
    assert page.locator("p[role=alert]").text_content() == "It cannot." and model.input_value() == "tiny-bert"
    page.get_by_label("Task").select_option("digits")
    assert page.evaluate("sent.at(-1)") == {"do": "choose", "task": "digits", **set_}
    page.get_by_label("Batch").fill("12")
    page.get_by_label("Device").select_option("stm32f746")
    model.select_option("tiny-vit")
    free = get("stm32f746").budget
    sent = page.evaluate("sent.at(-1)")
    assert (sent["budget"], sent["batch"], sent["device"]) == (free, 12, "stm32f746")
    page.evaluate("(info) => model.set('info', info)", {**info, "budget": free})
    assert "on stm32f746" in summary(page) and "lowered from 16.0 MiB" in summary(page), "an answer keeps what was set"
    told = {**info, "budget": free, "model": "tiny-vit"}
    page.evaluate("(info) => { model.set('problem', ''); model.set('info', info); }", told)
    assert page.get_by_label("Filter").input_value() == "full" and model.input_value() == "tiny-vit"
    assert "still that of" not in summary(page)
    page.evaluate("(info) => model.set('info', info)", {**told, "task": "digits", "model": "tiny-cnn"})
    assert "The budget is still that of tokens." in summary(page), "another task keeps the budget, and says so"
    page.locator("input[type=range]").fill("100")
    assert "still that of" not in summary(page), "until one is chosen for it"
    page.evaluate("stop()")
    assert page.evaluate("Object.values(listeners).every((l) => l.length === 0)")
    assert visit.complaints == []


def test_ways_out_that_runs_were_told_stand_in_the_explorer_of_their_records(visit):
    records = synthetic.comparison()
    ways = ("weights bf16 (214 MiB, predicted)", "batch 4 accumulated 2 times (190 MiB, predicted)")
    info = figures.fit([replace(r, ways=ways) if r.method == "full" else r for r in records])
    page = visit.page
    page.set_content(f"<!doctype html><title>host</title><style>{assets.style()}</style>")
    host = HOST.replace("MODULE", assets.as_expression(assets.modules()["fit"]))
    page.evaluate(host, json.loads(json.dumps(info.data())))
    assert "fits if weights bf16" in shown(page)["full"][0]
    page.evaluate("(info) => model.set('info', info)", figures.fit(records, 180 * synthetic.MIB).data())
    assert "fits if" not in shown(page)["full"][0], "nobody looked for a way"
