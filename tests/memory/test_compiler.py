"""A compiler that is slow or broken is a reason in a sentence, and leaves nothing half made."""

from __future__ import annotations

import pytest

from workbench.core.errors import ResourceMissing
from workbench.memory import compiler, ledger

SLOW_TO_COMPILE = """#!/bin/sh
[ "$1" = --version ] && echo slow 1.0 && exit
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo begun > "$2"; shift; done
exec sleep 60
"""
SLOW_TO_ANSWER = "#!/bin/sh\nexec sleep 60\n"
REFUSING = SLOW_TO_COMPILE.replace("exec sleep 60", "echo 'error: what is this' >&2; exit 1")


@pytest.fixture
def use(tmp_path, monkeypatch):
    """``use(text)`` makes a script the compiler of a cache that is empty."""

    def script(text):
        program = tmp_path / "compiler"
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(compiler, "compiler_at_hand", lambda: (str(program),))
        monkeypatch.setattr(compiler, "_compiler", compiler._compiler.__wrapped__)
        monkeypatch.setattr(ledger, "_library", ledger._library.__wrapped__)
        return tmp_path / "cache"

    return script


@pytest.mark.parametrize(
    ("text", "constant", "said"),
    [
        (SLOW_TO_COMPILE, "COMPILES", "did not end within 0.5 s"),
        (SLOW_TO_ANSWER, "ANSWERS", "did not end within 0.5 s"),
        (REFUSING, "", "error: what is this"),
        ("#!/nonexistent/shell\n", "", "does not run here"),
    ],
)
def test_there_is_no_ledger_and_a_reason(use, monkeypatch, text, constant, said):
    cache = use(text)
    if constant:
        monkeypatch.setattr(compiler, constant, 0.5)
    assert not ledger.available() and said in ledger.reason()
    with pytest.raises(ResourceMissing, match="workspace cannot be measured"):
        ledger.loaded()
    assert not list(cache.rglob("*.partial"))


def test_what_ends_in_another_way_leaves_no_partial_file(use, monkeypatch):
    cache = use(SLOW_TO_COMPILE)

    def interrupted(command, _):
        if "-o" in command:
            cache.joinpath(command[command.index("-o") + 1]).write_text("begun")
            raise KeyboardInterrupt
        return ran(command, 60)

    ran = compiler._ran
    monkeypatch.setattr(compiler, "_ran", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ledger.available()
    assert not list(cache.rglob("*.partial"))
