"""The command ``pintpot``. Verbs load their libraries when they run, so that listings stay instant."""

from __future__ import annotations

import sys

from workbench.cli import ctrl_c

_INTERRUPTED = 130  #: what the command library answers to Ctrl-C


def main() -> None:
    """Run the command line; every foreseen error is one sentence and its own exit code."""
    ctrl_c.listen()  # before anything heavy is imported
    try:
        code, sentence = _outcome()
        ctrl_c.ended(interrupted=code == _INTERRUPTED)
    except KeyboardInterrupt:
        code, sentence = _INTERRUPTED, ""
    except Exception:
        if not ctrl_c.pressed():
            raise
        code, sentence = _INTERRUPTED, ""  # a library has made another error of it
    if code == _INTERRUPTED:
        ctrl_c.ended(interrupted=True)
        from workbench.cli.interrupted import sentence_of

        code, sentence = 5, sentence_of(sys.argv[1:])
    if sentence:
        from workbench.cli.printing import note

        note(f"pintpot: {sentence}")
    raise SystemExit(code)


def _outcome() -> tuple[int, str]:
    """The exit code of what was asked for, and the sentence to end with if there is one."""
    from typer.exceptions import TyperException

    from workbench.core.errors import Interrupted, PintpotError

    try:
        return _done(), ""
    except PintpotError as error:
        if ctrl_c.pressed() and not isinstance(error, Interrupted):
            raise
        return error.exit_code, str(error)
    except TyperException as error:
        # A word on the command line that no verb or option knows, or a value of another type.
        return error.exit_code, " ".join(error.format_message().split())
    except Exception:
        if ctrl_c.pressed():
            raise
        from workbench.cli.failure import explain

        return 1, explain()


def _done() -> int:
    import gc
    import warnings
    from contextlib import redirect_stdout

    from workbench.cli.app import app
    from workbench.cli.output import Output
    from workbench.core.collection import seldom

    # What libraries have to say to their developers is no answer to our user; tests and Python sessions show it.
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["predict"]:
        gc.disable()  # one answer and the process ends: collecting would look through all that was imported
    elif sys.argv[1:2] == ["fit"]:
        seldom()
    with redirect_stdout(Output(sys.stdout)):  # type: ignore[type-var]
        code = app(sys.argv[1:] or ["--help"], prog_name="pintpot", standalone_mode=False) or 0
        sys.stdout.flush()  # here it can still be said what keeps it from being written
    return code
