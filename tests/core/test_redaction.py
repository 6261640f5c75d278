"""What is personal is named by its role; other words stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.paths import checkout
from workbench.core.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ada/notes.txt", "~/notes.txt"),
        ("hf_abcdefghijklmnopqrstuvwx", "<token>"),
        ("https://ada:secret12@example.invalid/x", "https://<token>@example.invalid/x"),
        ("planted value of it", "planted value of it"),
        ("train the model at the head", "train the model at the head"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_values_of_variables_and_account_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", "not-to-be-shown")
    monkeypatch.setenv("LOGNAME", "adalovelace")
    found = redacted({"adalovelace said": ["Key: NOT-to-be-shown", 3, None]})
    assert found == {"<LOGNAME> said": ["Key: <SERVICE_KEY>", 3, None]}


def test_a_neighbour_of_a_known_folder_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = tmp_path / "place"
    known.mkdir()
    monkeypatch.setenv("KEPT_IN", str(known))
    for rest in ("", "/x.py", ".", ": no such file", '"'):
        assert redacted(f"{known}{rest}") == f"<KEPT_IN>{rest}"
    for rest in ("-m/x.py", "2", ".old/x.py", "_m"):
        assert "<KEPT_IN>" not in redacted(f"{known}{rest}")
    monkeypatch.setenv("KEPT_IN", f"{known}/")
    assert redacted(f"{known}/x.py") == "<KEPT_IN>x.py"
    root = checkout()
    assert root is not None and redacted(f"{root}/a.py and {root}-m/a.py").startswith("<checkout>/a.py and /")
