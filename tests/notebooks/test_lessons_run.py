"""Lessons run headless in the quick profile: whole, in time, each ending in what one should have seen."""

from __future__ import annotations

import pytest

from workbench.report import run
from workbench.report.gallery import read_summary


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, words",
    [
        ("adapters", ["Rank against memory and accuracy", "adapter_model.safetensors", "To do:"]),
        ("devices-and-calibration", ["extrapolated", "are assumed and say so", "To do:"]),
        (
            "write-your-own-method",
            ["listing_needs_no_torch", "prediction_is_exact", "To do:", "All 4 assertions hold."],
        ),
    ],
)
def test_a_lesson_is_whole(name, words, tmp_path, monkeypatch) -> None:
    for folder in ("runs", "reports", "cache"):
        monkeypatch.setenv(f"PINTPOT_{folder.upper()}", str(tmp_path / folder))
    made = run.render(name, {"profile": "quick"}, progress=False)
    assert made.failed == () and not made.error
    page = made.html.read_text(encoding="utf-8")
    assert [word for word in words if word not in page] == []
    summary = read_summary(made.html)
    assert summary is not None and summary["status"] == "done"
