"""Listings load no torch, print JSON that parses, and say what they list."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LISTINGS = ("methods", "tasks", "models", "devices", "assets", "papers", "runs")


@pytest.mark.parametrize("verb", LISTINGS)
def test_json_parses(verb: str, pintpot) -> None:
    outcome = pintpot(verb, "--json")
    assert outcome.code == 0, outcome.err
    rows = json.loads(outcome.out)
    assert isinstance(rows, list)
    assert all(isinstance(row, dict) for row in rows)
    assert bool(rows) == (verb != "runs")


@pytest.mark.parametrize("verb", LISTINGS)
def test_names_in_json_are_words_that_a_program_can_use(verb: str, pintpot) -> None:
    rows = json.loads(pintpot(verb, "--json").out)
    assert not {name for row in rows for name in row if not name.isidentifier()}


def test_what_is_many_is_a_list(pintpot) -> None:
    rows = {row["task"]: row for row in json.loads(pintpot("tasks", "--json").out)}
    assert rows["tokens"]["default_model"] == "minilm" and rows["tokens"]["assets"] == []
    assert {"text-encoder", "causal-lm"} <= set(rows["tokens"]["trains"])
    assert rows["movie-sentiment"]["assets"] == ["vader"]
    assert "text-encoder, causal-lm" in " ".join(pintpot("tasks").out.split())


@pytest.mark.parametrize("verb", LISTINGS)
def test_tables_print(verb: str, pintpot) -> None:
    outcome = pintpot(verb)
    assert outcome.code == 0 and outcome.out.strip() and outcome.err == ""


def test_no_listing_loads_torch() -> None:
    """All of them in one fresh interpreter, so that one import anywhere would show."""
    code = f"""
import sys
from workbench.cli.app import app
for verb in {LISTINGS!r}:
    for words in ([verb], [verb, '--json']):
        try:
            app(words, standalone_mode=False)
        except SystemExit:
            pass
    heavy = [m for m in ('torch', 'transformers', 'peft', 'sklearn') if m in sys.modules]
    if heavy:
        sys.exit(f'{{verb}} loads {{heavy}}')
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]


def test_methods_have_family_paper_and_what_they_save(pintpot) -> None:
    rows = json.loads(pintpot("methods", "--json").out)
    assert len(rows) >= 40
    assert all(row["family"] and row["paper"] and row["saves"] for row in rows)


def test_one_method_shows_its_settings(pintpot) -> None:
    shown = pintpot("methods", "lora")
    assert shown.code == 0 and "LoRA" in shown.out and "optimizer" in shown.out
    data = json.loads(pintpot("methods", "lora", "--json").out)
    assert {s["name"] for s in data["settings"]} >= {"r", "lr", "optimizer"}


def test_help_lists_the_verbs(pintpot) -> None:
    text = pintpot("--help").out
    assert all(verb in text for verb in ("report", "run", "fit", "ablate", "compare", "runs", "methods", "doctor"))
