"""The page on slices and chosen tensors runs headless in the quick profile, whole and in time."""

from __future__ import annotations

import pytest

from workbench.report import run
from workbench.report.gallery import read_summary


@pytest.mark.slow
def test_the_quick_page_is_whole(tmp_path, monkeypatch) -> None:
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"PINTPOT_{name.upper()}", str(tmp_path / name))
    made = run.render("slices-and-tensors", {"profile": "quick", "seeds": [0, 1]}, progress=False)
    assert made.failed == () and not made.error
    page = made.html.read_text(encoding="utf-8")
    for words in ("Learned and forgotten", "What trains in which epoch", "against operations", "compute=delta"):
        assert words in page
    summary = read_summary(made.html)
    assert summary is not None and summary["status"] == "done"
