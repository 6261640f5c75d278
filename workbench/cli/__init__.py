"""The command ``pintpot``. Verbs load their libraries when they run, so that listings stay instant."""

from __future__ import annotations

import sys

from workbench.core.errors import PintpotError


def main() -> None:
    """Run the command line; every foreseen error is one sentence and its own exit code."""
    from workbench.cli.app import app

    try:
        app()
    except PintpotError as error:
        sys.stderr.write(f"pintpot: {error}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write("pintpot: interrupted; finished runs are kept and the same command resumes\n")
        raise SystemExit(5) from None
    except BrokenPipeError:
        # The reader of a listing went away; that is no failure of ours.
        sys.stderr.close()
        raise SystemExit(0) from None
    except Exception:
        from workbench.cli.failure import explain

        sys.stderr.write(f"pintpot: {explain()}\n")
        raise SystemExit(1) from None
