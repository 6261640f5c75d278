"""The commit that a report names: outputs that a front end saves are no change, everything else is."""

import json
import subprocess

import pytest

from workbench.report import checkout


def notebook(source="1 + 1", **more):
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": [source], "outputs": [], "execution_count": None}
    return json.dumps({"cells": [cell | more], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def root(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "räume 1.ipynb").write_text(notebook(), encoding="utf-8")
    (tmp_path / "code.py").write_text("a = 1\n", encoding="utf-8")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr(checkout, "checkout", lambda: tmp_path)
    return tmp_path


def test_a_notebook_that_was_run_and_saved_is_that_of_the_commit(root):
    clean = checkout.commit()
    assert clean is not None and len(clean) == 12
    file = root / "notebooks" / "räume 1.ipynb"
    outputs = [{"output_type": "stream", "name": "stdout", "text": ["2"]}]
    file.write_text(notebook(outputs=outputs, execution_count=3, metadata={"trusted": True}), encoding="utf-8")
    assert checkout.commit() == clean
    (root / "new.txt").write_text("not tracked", encoding="utf-8")
    assert checkout.commit() == clean


@pytest.mark.parametrize(
    "name, text",
    [
        ("notebooks/räume 1.ipynb", notebook("2 + 2")),
        ("notebooks/räume 1.ipynb", notebook(metadata={"tags": ["parameters"]})),
        ("notebooks/räume 1.ipynb", notebook(cell_type="raw")),
        ("notebooks/räume 1.ipynb", "{}"),
        ("notebooks/räume 1.ipynb", "no notebook"),
        ("notebooks/räume 1.ipynb", None),
        ("code.py", "a = 2\n"),
        ("code.py", None),
    ],
)
def test_any_other_change_shows(root, name, text):
    file = root / name
    if text is None:
        file.unlink()
    else:
        file.write_text(text, encoding="utf-8")
    assert checkout.commit().endswith("-dirty")


def test_a_new_tracked_notebook_shows(root):
    (root / "second.ipynb").write_text(notebook(), encoding="utf-8")
    subprocess.run(["git", "add", "second.ipynb"], cwd=root, check=True)
    assert checkout.commit().endswith("-dirty")
