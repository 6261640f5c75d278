"""Topics of the standard library's docstrings: text classification that needs no download."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.tasks.base import Sizes, TaskData, register
from workbench.tasks.content import split
from workbench.tasks.text import TextClassification

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec

TOPICS = {
    "concurrency": ("asyncio", "multiprocessing", "concurrent", "threading", "queue", "selectors", "sched"),
    "mail": ("email", "mailbox", "imaplib", "smtplib", "poplib", "nntplib"),
    "web": ("http", "urllib", "wsgiref", "xmlrpc", "xml", "html", "ssl"),
    "numbers": ("_pydecimal", "fractions", "statistics", "datetime", "random", "numbers", "ipaddress", "calendar"),
    "testing": ("unittest", "doctest", "pdb", "bdb", "trace", "logging", "inspect"),
    "files": ("tarfile", "zipfile", "pathlib", "shutil", "_pyio", "gzip", "tempfile", "os", "fileinput", "lzma"),
}  # fmt: skip
SHORTEST = 20


@lru_cache(maxsize=2)
def read_docstrings(root: Path) -> tuple[tuple[str, int], ...]:
    """(docstring, topic index) of every class and function of the listed modules; nothing is imported.

    A text that occurs twice is kept once, so that no test text is also a training text.
    """
    found: dict[str, int] = {}
    for index, modules in enumerate(TOPICS.values()):
        for module in modules:
            single = root / f"{module}.py"
            files = [single] if single.is_file() else sorted((root / module).rglob("*.py"))
            for file in files:
                if "test" in file.parent.parts or "tests" in file.parent.parts:
                    continue
                for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                        text = " ".join((ast.get_docstring(node) or "").split())
                        if len(text) > SHORTEST:
                            found.setdefault(text, index)
    return tuple(found.items())


@register
class DocstringTopic(TextClassification):
    name = "docstring-topic"
    title = "Docstring topics"
    doc = "Which of six areas of the standard library does a docstring come from? No download; for quick runs."
    labels = tuple(TOPICS)
    assets = ("python-source",)
    default_model = "tiny-bert"
    default_length = 32
    defaults = (1200, 400)

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        from workbench.assets import locate

        self.check(model)
        rows = read_docstrings(locate("python-source"))
        train, test = split(self.name, len(rows), sizes.train, sizes.test, self.defaults, seed)
        described = f"seeded shuffle of {len(rows)} distinct docstrings, {len(train)} train / {len(test)} test"
        return self.encode(model, [rows[i] for i in train], [rows[i] for i in test], sizes, split=described, seed=seed)
