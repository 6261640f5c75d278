"""The bitsandbytes library, imported without its advice and without starting torch's compiler."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from typing import Any

import torch


def bitsandbytes() -> Any:
    """The library. Raises ``ImportError`` where it is not installed."""
    # It prints advice about optional kernels when it is imported.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), _compiling_later():
        import bitsandbytes

    return bitsandbytes


@contextlib.contextmanager
def _compiling_later() -> Iterator[None]:
    """``torch.compile`` prepares a function at its first call, not when it is decorated.

    The library decorates a few kernels that are seldom called here, and the first ``torch.compile`` of a process
    imports the whole compiler: 1.4 CPU-seconds of every command that uses an adapter.
    """
    compile_now = torch.compile

    def compile_later(model: Callable[..., Any] | None = None, **options: Any) -> Any:
        if model is None:
            return functools.partial(compile_later, **options)

        @functools.cache
        def compiled() -> Callable[..., Any]:
            return compile_now(model, **options)  # type: ignore[no-any-return, call-overload]

        @functools.wraps(model)
        def call(*args: Any, **kwargs: Any) -> Any:
            return compiled()(*args, **kwargs)

        return call

    torch.compile = compile_later
    try:
        yield
    finally:
        torch.compile = compile_now
