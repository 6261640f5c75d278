"""Every notebook keeps the form that reports need: few cells, typed parameters, no outputs, no logic.

A cell that writes a file is that file's text and may hold what a file holds.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from workbench.report.parameters import declared

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_form(path):
    found = cells(path)
    code = ["".join(c["source"]) for c in found if c["cell_type"] == "code"]
    assert len(found) <= 20 and found[0]["cell_type"] == "markdown"
    minutes = "".join(found[0]["source"]).partition("*Minutes:* ")[2]
    assert minutes and not minutes.startswith("seconds"), "what it takes, in minutes"
    assert found[1]["metadata"].get("tags") == ["parameters"]
    assert all(c.get("outputs", []) == [] for c in found)
    for source in (text for text in code if not text.startswith("%%writefile ")):
        tree = ast.parse(source)
        logic = (ast.FunctionDef, ast.ClassDef, ast.If, ast.While, ast.Try, ast.Lambda)
        assert not [n for n in ast.walk(tree) if isinstance(n, logic)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_line_of_the_parameters_is_read(path):
    source = "".join(cells(path)[1]["source"])
    names = [node.target.id for node in ast.parse(source).body]
    known = declared(path)
    assert list(known) == names
    for node in ast.parse(source).body:
        assert known[node.target.id].default == ast.literal_eval(node.value)
