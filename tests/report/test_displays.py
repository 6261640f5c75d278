"""A notebook shows verdicts, a plan and a profile as pictures and tables; a terminal shows them in a few lines."""

from __future__ import annotations

import subprocess
import sys

import pytest

import workbench
from workbench.report import displays


@pytest.fixture(scope="module")
def bench():
    return workbench.open(
        task="tokens", model="tiny-bert", device="raspberry-pi-4", budget="4 MiB", batch=4, length=16
    )  # fmt: skip


def test_verdicts_are_a_picture_and_a_table_of_all(bench):
    found = bench.fit(["full", "head", "prefix-tuning"])
    shown = displays.fits_html(found)
    assert shown.count("<svg") == 1 and shown.count("<tr>") == 1 + len(found) == 4
    assert "budget 4.00 MiB" in shown and "does not apply" in shown and "Move the" not in shown
    assert repr(found).startswith(found.sentence) and len(repr(found).splitlines()) == 4
    assert isinstance(found, list) and found.table.at(2**30)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        ("assert 1\nassert 2, 'because'\nx = 3", 2),
        ("assert 1\nassert 0", None),
        ("assert 1\nx = 3", None),
        ("print('assert ')\nassert 1", None),
    ],
)
def test_a_cell_of_assertions_says_that_they_hold(cell, count, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    said = []
    monkeypatch.setattr("workbench.report.emit.held", said.append)
    shell = InteractiveShell()
    shell.events.register("post_run_cell", displays.held)
    shell.run_cell(cell)
    assert said == ([count] if count else [])


def test_a_plan_shows_its_settings_and_its_command(bench):
    plan = bench.plan("head")
    shown = displays.plan_html(plan)
    assert plan.command in shown and "What binds: " in shown and f"Plan: {plan.sentence}" in repr(plan)
    assert shown.count("<tr>") == 2 + len(plan.others)


def test_a_profile_shows_its_split_and_every_moment(bench):
    profile = bench.case("head").predict()
    shown = displays.profile_html(profile)
    assert f"{profile.peak:,}" in shown and "saved for backward" in shown and shown.count("<svg") == 1
    assert profile.sentence() in repr(profile) and "Moment" not in repr(profile)


def test_ipython_is_told_when_the_library_is_imported_in_it():
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import sys, workbench
assert "torch" not in sys.modules and "matplotlib" not in sys.modules
bench = workbench.open(task="tokens", model="tiny-bert", device="raspberry-pi-4", budget="4 MiB", batch=4, length=16)
data, _ = shell.display_formatter.format(bench.case("head").predict())
print("<svg" in data["text/html"], data["text/plain"].startswith("<MemoryProfile, predicted"))
data, _ = shell.display_formatter.format(bench.fit(["head"]))
print("<svg" in data["text/html"], data["text/plain"].startswith("1 of 1 methods fit"))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"] * 4, done.stderr


def test_the_kernel_of_a_report_knows_how_answers_are_shown(tmp_path):
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import KernelManager

    manager, said = KernelManager(), []
    manager._kernel_spec = KernelSpec(argv=[sys.executable, "-m", "workbench.report.kernel", "-f", "{connection_file}"])
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(60)
        client.execute_interactive("assert 1\nassert 2", output_hook=lambda m: said.append(m["content"]), timeout=180)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    shown = [one["data"]["text/plain"] for one in said if "data" in one]
    assert shown == ["✓ All 2 assertions hold."]


def test_provenance_and_answer_are_set_off_in_a_notebook(monkeypatch):
    from workbench.report import emit

    shown = []
    monkeypatch.setattr(emit, "_display", lambda bundle: shown.append(bundle["text/html"]))
    emit.provenance({"versions": ["torch 2", "a <b>"], "cores": 2})
    emit.answer("It fits.\nBarely.")
    left = "<td style='text-align:left'>"
    assert f"{left}versions</td>{left}torch 2, a &lt;b&gt;</td>" in shown[0] and f"{left}2</td>" in shown[0]
    assert shown[1] == "<blockquote><p><strong>It fits.</strong></p><p>Barely.</p></blockquote>"


def test_words_of_a_table_stand_left_and_numbers_right():
    from workbench.report import emit

    made = emit.table_html(emit.table_payload([{"method": "lora", "peak": 3}]))
    assert "<td style='text-align:left'>lora</td><td>3</td>" in made


def test_columns_of_printed_numbers_are_numbers():
    from workbench.report import emit

    rows = [{"way": "full", "r": 8, "trained": "22,566,146", "peak": "2.26 MiB", "share": "-1.5 %", "what": "8 heads"},
            {"way": "lora", "r": None, "trained": "74,498", "peak": "0 B", "share": "3e-07", "what": "12"}]  # fmt: skip
    made = emit.table_payload(rows)
    assert dict(zip(made["columns"], made["numeric"], strict=True)) == {
        "way": False, "r": True, "trained": True, "peak": True, "share": True, "what": False
    }  # fmt: skip
