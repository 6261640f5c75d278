"""Pages of methods run headless in the quick profile, whole and in time."""

from __future__ import annotations

import pytest

from workbench.report import run
from workbench.report.gallery import read_summary

#: report: parameters beside the profile, and what its page must say
PAGES = {
    "quantise-without-backprop": (
        {"bits": [2]},
        ("What the noise reaches", "Arms at each width", "lazy: rounded weights", "Held-out loss at 2-bit"),
    ),
    "lean-backward": (
        {"seeds": [0]},
        ("What a block keeps", "against memory and time", "How far each layer moved", "compute=requires-grad"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_quick_page_is_whole(name, tmp_path, monkeypatch) -> None:
    for place in ("runs", "reports"):
        monkeypatch.setenv(f"PINTPOT_{place.upper()}", str(tmp_path / place))
    parameters, said = PAGES[name]
    made = run.render(name, {"profile": "quick", **parameters}, progress=False)
    assert made.failed == () and not made.error
    page = made.html.read_text(encoding="utf-8")
    for words in said:
        assert words in page
    summary = read_summary(made.html)
    assert summary is not None and summary["status"] == "done"
