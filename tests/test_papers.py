"""The map of papers is complete, prints only what was read, and does not call unfinished rows done."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from workbench.papers import PROVENANCES, Paper, check, malformed, papers


def test_every_paper_has_one_row() -> None:
    rows = papers()
    assert [row.number for row in rows] == list(range(1, 53))
    assert len({row.title for row in rows}) == 52


def test_a_headline_says_where_it_was_read() -> None:
    for row in papers():
        assert bool(row.headline) != bool(row.headline_note), row.number
        assert not row.headline or row.provenance in PROVENANCES, row.number


def test_surveys_are_pages_without_a_result() -> None:
    surveys = {row.number: row for row in papers() if row.number in (22, 47)}
    assert all(row.kind == "page" and not row.headline for row in surveys.values())


def test_every_row_called_done_is_done() -> None:
    assert {row.number: check(row) for row in papers() if check(row)} == {}


def test_a_row_cannot_be_called_done_without_its_things() -> None:
    planted = dataclasses.replace(papers()[0], status="done", kind="method", name="no-such-method")
    problems = check(planted)
    assert any("no-such-method" in p for p in problems)
    assert any("test" in p for p in problems)
    assert any("notebook" in p for p in problems)


def test_each_missing_thing_alone_is_refused(tmp_path) -> None:
    (tmp_path / "test_a.py").write_text("")
    (tmp_path / "a.ipynb").write_text("{}")
    done = Paper(
        1, "t", "devices", "device", name="raspberry-pi-4", status="done", test="test_a.py", notebook="a.ipynb",
        headline_note="none",
    )  # fmt: skip
    assert check(done, tmp_path) == []
    for change in ({"name": "raspberry-pi-44"}, {"test": "test_b.py"}, {"notebook": "b.ipynb"}, {"name": ""}):
        assert len(check(dataclasses.replace(done, **change), tmp_path)) == 1, change


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "thing"},
        {"status": "almost"},
        {"headline": "99 %"},
        {"headline": "99 %", "provenance": "recalled", "headline_note": ""},
        {"headline_note": ""},
    ],
)
def test_malformed_rows_are_named(change) -> None:
    row = Paper(1, "t", "devices", "device", headline_note="none")
    assert malformed(row) is None
    assert malformed(dataclasses.replace(row, **change))


def test_reading_the_map_imports_no_torch() -> None:
    code = "import sys, workbench.papers as p; p.papers(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
