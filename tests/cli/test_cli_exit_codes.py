"""Each exit code by a real case: 0 done, 1 failed, 2 bad input, 3 over budget, 4 resources, 5 interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TINY = ("--task", "docstring-topic", "--model", "tiny-bert")
SHORT = (*TINY, "--profile", "quick", "--length", "8")
SCRIPT = str(Path(sys.executable).with_name("pintpot"))


def test_0_fit_prints_a_verdict_for_each_method(pintpot) -> None:
    words = ("fit", *TINY, "--methods", "full,head", "--budget", "64MiB", "--batch", "2", "--length", "8", "--json")
    outcome = pintpot(*words)
    assert outcome.code == 0, outcome.err
    rows = {row["method"]: row for row in json.loads(outcome.out)}
    assert rows["full"]["fits"] == "fits" and rows["head"]["peak"] < rows["full"]["peak"]


def test_0_predict_and_measure_agree(pintpot) -> None:
    outcome = pintpot("measure", "--model", "tiny-bert", "--method", "lora", "--batch", "2", "--length", "8", "--json")
    assert outcome.code == 0, outcome.err
    data = json.loads(outcome.out)
    assert data["difference"] == 0
    assert not any(data["difference_by_category"].values())


def test_4_a_store_that_is_no_database_is_one_sentence(pintpot, folders) -> None:
    (folders.root / "runs" / "runs.sqlite").write_text("this is no database" * 100)
    outcome = pintpot("runs")
    assert outcome.code == 4 and "cannot be read: file is not a database" in outcome.err
    assert not (folders.root / "runs" / "runs-copy.sqlite").exists()


def test_1_a_fault_is_a_sentence_and_a_log(pintpot, folders, monkeypatch) -> None:
    """What nobody foresaw is nobody's bad input; the trace goes to a file."""
    monkeypatch.delattr("workbench.records.store.RunStore.lines")
    outcome = pintpot("runs")
    assert outcome.code == 1
    assert "Traceback" not in outcome.err and "fault of pintpot" in outcome.err
    assert list((folders.root / "cache" / "log").glob("*.txt"))


def test_3_a_budget_that_cannot_hold_refuses(pintpot) -> None:
    outcome = pintpot("run", "--method", "full", *SHORT, "--budget", "64KiB", "--json")
    assert outcome.code == 3, outcome.err
    record = json.loads(outcome.out)
    assert record["state"] == "refused" and "passes the budget" in record["reason"]
    assert record["steps"] == []
    assert record["ways"] == [] and "no change" in record["note"], "not even one example fits 64 KiB"


def test_3_a_refused_run_and_its_record_name_the_same_ways_out(pintpot) -> None:
    words = ("run", "--method", "full", *SHORT, "--budget", "3MiB")
    shown = pintpot(*words)
    assert shown.code == 3
    record = json.loads(pintpot(*words, "--json").out)
    assert record["ways"] and f"Cheapest ways out: {'; '.join(record['ways'])}." in shown.err


def test_3_measuring_over_the_budget_names_ways_out(pintpot) -> None:
    words = ("measure", "--model", "tiny-bert", "--method", "full", "--batch", "2", "--length", "8")
    outcome = pintpot(*words, "--budget", "3MiB")
    assert outcome.code == 3, outcome.err
    assert "budget of 3.00 MiB" in outcome.err and "Cheapest ways out" in outcome.err


def test_0_and_3_a_plan_fits_or_names_ways_out(pintpot) -> None:
    words = ("plan", "--task", "tokens", "--model", "tiny-bert", "--device", "raspberry-pi-4", "--batch", "2")
    words = (*words, "--length", "8", "--method", "head")
    outcome = pintpot(*words, "--budget", "64MiB", "--vary", "lr=0.1,0.01", "--json")
    assert outcome.code == 0, outcome.err
    plan = json.loads(outcome.out)
    assert plan["predicted"]["peak"] <= plan["budget"] and plan["candidates"] >= plan["sized"] >= 1
    assert plan["command"].startswith("pintpot run ")
    outcome = pintpot(*words, "--budget", "1MiB")
    assert outcome.code == 3 and "nothing in the grid fits 1.00 MiB" in outcome.err
    assert pintpot(*words, "--vary", "rank=1").code == 2
    assert "no finished run" in pintpot(*words, "--by", "quality").err


def test_4_shapes_only_cannot_be_trained(pintpot) -> None:
    outcome = pintpot("run", "--method", "lora", "--task", "tokens", "--model", "llama-2-7b", "--budget", "1TiB")
    assert outcome.code == 4, outcome.err
    assert "shapes only" in outcome.err


def test_5_interrupted_keeps_what_was_finished(folders) -> None:
    """TERM during a sweep: exit 5 within seconds, the store opens, and what was done is there."""
    words = [SCRIPT, "ablate", "method=head,full", "seed=0,1,2,3,4,5,6,7", *TINY, "--profile", "quick", "--json"]
    child = subprocess.Popen(words, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    store = folders.root / "runs" / "runs.sqlite"
    try:
        until = time.monotonic() + 120
        while not store.exists() and child.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(1)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=120)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 5, err
    assert "same command resumes" in err and "Traceback" not in err
    from workbench.records.store import RunStore

    finished = [line for line in RunStore().lines() if line.state == "done"]
    assert finished


def test_0_a_run_says_what_it_forgot_and_its_command_finds_it_again(pintpot) -> None:
    words = ("run", "--method", "s2ft", "--task", "tokens", "--model", "tiny-llama", "--profile", "quick")
    sizes = ("--length", "16", "--train", "8", "--test", "2", "--batch", "4", "--epochs", "1")
    asked = (*words, *sizes, "--held-out")
    outcome = pintpot(*asked, "python-code")
    assert outcome.code == 0, outcome.err
    assert "bits per byte on python-code" in outcome.out + outcome.err
    wrong = pintpot(*asked, "digits")
    assert wrong.code == 2 and "digits" in wrong.err
