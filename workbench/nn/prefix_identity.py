"""What a frozen prefix is, by content: weights, structure, code and library versions; and the files named by it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from workbench.core import paths

#: Bytes that files of prefix rows may take together; the least recently used are removed first.
FOLDER_LIMIT = 8 * 2**30


class PrefixIdentity:
    """The content hash of some modules, computed again only after one of their tensors was written to."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = list(modules)
        inside = [m for module in modules for m in module.modules()]
        # The dictionaries themselves, since walking through modules would cost a small step 1 % of its time.
        self._held = [held for m in inside for held in (m._parameters, m._buffers) if held]
        self._versions: tuple[int, ...] = ()
        self._digest = ""

    def changed(self) -> bool:
        """Whether the content is another one than at the last call (the first call: no)."""
        versions = tuple(v for t in self._tensors() for v in (t._version, t.data_ptr()))
        if versions == self._versions:
            return False
        before, self._versions, self._digest = self._digest, versions, self._content()
        return before not in ("", self._digest)

    def name(self, *form: object) -> str:
        """A file name for rows of this form."""
        if not self._digest:
            self.changed()
        text = " ".join(map(str, (self._digest, _code(), *form)))
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _tensors(self) -> list[Tensor]:
        return [t for held in self._held for t in held.values() if t is not None]

    def _content(self) -> str:
        made = hashlib.sha256()
        for module in self._modules:
            made.update(str(module).encode())
        for tensor in self._tensors():
            made.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            made.update(memoryview(tensor.detach().contiguous().flatten().view(torch.uint8).numpy()))
        return made.hexdigest()


@functools.cache
def _code() -> str:
    """What computes a prefix: this package's layers and models, and the libraries below them."""
    made = hashlib.sha256("".join(version(name) for name in ("torch", "transformers")).encode())
    for folder in ("nn", "models", "parts"):
        for file in sorted(f for kind in ("py", "cpp") for f in (paths.PACKAGE / folder).rglob(f"*.{kind}")):
            made.update(file.read_bytes())
    return made.hexdigest()


def folder() -> Path:
    """Where files of prefix rows lie."""
    return paths.cache() / "prefix"


def place_of(name: str, most: int) -> Path:
    """The file for rows of this name, with room made in its folder for ``most`` bytes."""
    target = folder() / f"{name}.rows"
    others = sorted((f for f in folder().glob("*.rows") if f != target), key=lambda f: f.stat().st_mtime)
    total = sum(f.stat().st_size for f in others)
    while others and total + most > FOLDER_LIMIT:
        oldest = others.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)
    return target
