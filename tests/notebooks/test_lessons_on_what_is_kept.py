"""The two lessons on what a step keeps run headless in the quick profile, whole and with the panel in the page."""

from __future__ import annotations

import pytest

from workbench.report import run
from workbench.report.gallery import read_summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lesson", "panels", "words"),
    [
        ("what-you-freeze-is-not-what-you-save", 2, "nine tenths or more"),
        ("recompute-pack-optimizer-state", 1, "every 2nd block"),
    ],
)
def test_the_quick_lesson_is_whole(lesson, panels, words, tmp_path, monkeypatch) -> None:
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"PINTPOT_{name.upper()}", str(tmp_path / name))
    made = run.render(lesson, {"profile": "quick"}, progress=False)
    assert made.failed == () and not made.error
    page = made.html.read_text(encoding="utf-8")
    assert page.count('data-module="saved_map"') == panels and words in page
    assert len(page) < 300_000
    summary = read_summary(made.html)
    assert summary is not None and summary["status"] == "done"
