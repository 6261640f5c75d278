"""Attributes of torch that are others for a while: each is put back as it was found, patched once already or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def patched(owner: Any, **new: Any) -> Iterator[None]:
    """``owner``, a class or a module, with these attributes; what it inherited before, it inherits again afterwards.

    Contexts nest. Each attribute is put back even where another cannot be.
    """
    with ExitStack() as undo:
        for name, value in new.items():
            if name in vars(owner):
                undo.callback(setattr, owner, name, vars(owner)[name])
            else:
                undo.callback(delattr, owner, name)
            setattr(owner, name, value)
        yield
