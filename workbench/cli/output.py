"""Standard output that says in a sentence when it cannot be written, whichever library was printing."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TextIO

from workbench.core.errors import ResourceMissing


class OutputLost(ResourceMissing):
    """What was to be printed cannot be. Where its reader went away, as `head` does, nothing is wrong or to be said."""

    def __init__(self, error: OSError | None) -> None:
        gone = isinstance(error, BrokenPipeError)
        self.exit_code = 0 if gone else ResourceMissing.exit_code
        why = "is closed" if error is None else f"cannot be written: {error.strerror or error}"
        super().__init__("" if gone else f"standard output {why}")


class Output:
    """Stands for a stream whose errors would look like those of any file; ``None`` is one that was closed."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        return self._tried("write", text)

    def flush(self) -> None:
        if self._stream is not None:
            self._tried("flush")

    def _tried(self, what: str, *arguments: str) -> Any:
        if self._stream is None:
            raise OutputLost(None)
        try:
            return getattr(self._stream, what)(*arguments)
        except OSError as error:
            led_nowhere(self._stream)
            raise OutputLost(error) from None


def led_nowhere(stream: TextIO) -> None:
    """Python tries what a stream still holds once more when it ends, and complains; now that succeeds."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
