"""The command ``pintpot``. Verbs load their libraries when they run, so that listings stay instant."""

from __future__ import annotations

import gc
import sys

from workbench.core.collection import seldom
from workbench.core.errors import PintpotError

_INTERRUPTED = 130  #: what the command library answers to a second Ctrl-C


def main() -> None:
    """Run the command line; every foreseen error is one sentence and its own exit code."""
    import warnings

    from typer.exceptions import TyperException

    from workbench.cli.app import app

    # What libraries have to say to their developers is no answer to our user; tests and Python sessions show it.
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["predict"]:
        gc.disable()  # one answer and the process ends: collecting would look through all that was imported
    elif sys.argv[1:2] == ["fit"]:
        seldom()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="pintpot", standalone_mode=False)
    except PintpotError as error:
        sys.stderr.write(f"pintpot: {error}\n")
        raise SystemExit(error.exit_code) from None
    except TyperException as error:
        # A word on the command line that no verb or option knows, or a value of another type.
        sys.stderr.write(f"pintpot: {' '.join(error.format_message().split())}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        # The reader of a listing went away; that is no failure of ours.
        sys.stderr.close()
        raise SystemExit(0) from None
    except Exception:
        from workbench.cli.failure import explain

        sys.stderr.write(f"pintpot: {explain()}\n")
        raise SystemExit(1) from None
    if code == _INTERRUPTED:
        sys.stderr.write("pintpot: interrupted; finished runs are kept and the same command resumes\n")
        raise SystemExit(5)
    raise SystemExit(code or 0)
