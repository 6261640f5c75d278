"""Ctrl-C at any moment of a command: exit 5 and one sentence, which says what is true of that command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

SIZES = ("--model", "tiny-bert", "--batch", "1", "--length", "8")
#: The last module that was imported when the signal comes, which is a moment on every machine.
MOMENTS = (
    ("predict", "typer.models", "answer is not finished"),
    ("predict", "numpy.linalg", "answer is not finished"),
    ("predict", "torch._utils", "answer is not finished"),
    ("predict", "torch.nn", "answer is not finished"),
    ("predict", "workbench.case", "answer is not finished"),
    ("measure", "torch.autograd", "answer is not finished"),
    ("measure", "workbench.memory.measure", "answer is not finished"),
    ("plan", "pydantic", "answer is not finished"),
    ("run", "pydantic", "last checkpoint"),
    ("doctor", "typer.models", "before it was done"),
)


def _hearing() -> None:
    """Whatever started the tests may have been deaf to Ctrl-C, which a child inherits."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(("verb", "after", "said"), MOMENTS)
def test_ctrl_c_ends_in_one_sentence(verb: str, after: str, said: str, folders) -> None:
    sizes = () if verb == "doctor" else (*SIZES, "--method", "full")
    words = [sys.executable, "-X", "importtime", "-m", "workbench.cli", verb, *sizes]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=os.environ, stdout=pipe, stderr=pipe, text=True, preexec_fn=_hearing) as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            assert any(line.rpartition("|")[2].strip() == after for line in child.stderr), f"{after} is not imported"
            child.send_signal(signal.SIGINT)
            left = [line for line in child.stderr if not line.startswith("import time:")]
            out = child.stdout.read()
            assert child.wait(timeout=300) == 5, left
        finally:
            child.kill()
    assert out == "" and len(left) == 1, left
    assert left[0].startswith("pintpot: interrupted") and said in left[0]


def test_an_interrupt_that_a_destructor_swallows_comes_again(folders) -> None:
    """Python cannot hand on what is raised there, and prints it with its trace."""
    code = """
import signal, sys, time
from workbench.cli import ctrl_c

class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

ctrl_c.listen()
try:
    Dying()
    time.sleep(300)
except KeyboardInterrupt:
    sys.exit(5)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, preexec_fn=_hearing
    )
    assert done.returncode == 5 and done.stderr == "", done.stderr
