"""The page on what the backward pass keeps runs headless in the quick profile, whole and in time."""

from __future__ import annotations

import pytest

from workbench.report import run
from workbench.report.gallery import read_summary


@pytest.mark.slow
def test_the_quick_page_is_whole(tmp_path, monkeypatch) -> None:
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"PINTPOT_{name.upper()}", str(tmp_path / name))
    made = run.render("lean-backward", {"profile": "quick", "seeds": [0]}, progress=False)
    assert made.failed == () and not made.error
    page = made.html.read_text(encoding="utf-8")
    for words in ("What a block keeps", "against memory and time", "How far each layer moved", "compute=requires-grad"):
        assert words in page
    summary = read_summary(made.html)
    assert summary is not None and summary["status"] == "done"
