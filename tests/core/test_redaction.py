"""What is personal is named by its role; other words stay."""

from __future__ import annotations

import pytest

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
