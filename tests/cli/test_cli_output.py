"""Where the output cannot be written, every command that prints says so in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("--model", "tiny-bert", "--method", "head", "--batch", "1", "--length", "8")
PRINTING = (
    ("--help",),
    ("run", "--help"),
    ("methods",),
    ("methods", "--json"),
    ("methods", "lora"),
    ("tasks",),
    ("models", "--json"),
    ("papers",),
    ("devices",),
    ("devices", "show", "laptop"),
    ("assets",),
    ("runs",),
    ("report",),
    ("predict", *SMALL),
    ("predict", *SMALL, "--json"),
)
FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


def _run(words: tuple[str, ...], stdout: int, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workbench.cli", *words]
    return subprocess.run(command, env={**os.environ, **variables}, stdout=stdout, stderr=subprocess.PIPE, text=True)


@full
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_sentence(words: tuple[str, ...], folders) -> None:
    with FULL.open("w") as output:
        done = _run(words, output.fileno())
    said = "pintpot: standard output cannot be written: No space left on device\n"
    assert done.returncode == 4 and done.stderr.endswith(said), done.stderr
    assert "fault" not in done.stderr and "Traceback" not in done.stderr and "ignored" not in done.stderr
    assert not list((folders.root / "cache").glob("log/*"))


@full
def test_a_full_disk_is_one_sentence_without_a_buffer(folders) -> None:
    with FULL.open("w") as output:
        done = _run(("methods",), output.fileno(), PYTHONUNBUFFERED="1")
    assert done.returncode == 4 and done.stderr.count("\n") == 1 and "standard output" in done.stderr, done.stderr


@full
def test_what_nobody_can_be_told_changes_no_answer(folders) -> None:
    command = [sys.executable, "-m", "workbench.cli", "predict", *SMALL]
    with FULL.open("w") as lost:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=lost, text=True)
    assert done.returncode == 0 and "head on tiny-bert" in done.stdout


@pytest.mark.parametrize("words", [("tasks",), ("methods", "--json")], ids=" ".join)
def test_a_reader_that_goes_away_is_no_failure(words: tuple[str, ...], folders) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = _run(words, write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_output_is_one_sentence(folders) -> None:
    code = f"import os; os.close(1); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'workbench.cli', 'tasks'])"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (4, "pintpot: standard output is closed\n")
