"""Every problem of a request at once, in the user's terms; servers that would let others in are not started."""

from __future__ import annotations

import pytest

from workbench.core.errors import BadInput, ManyBadInputs
from workbench.request import asked


def test_every_problem_at_once() -> None:
    with pytest.raises(ManyBadInputs) as caught:
        asked({"task": "movie-sentimant", "batch": 0, "budget": "1e18", "epochs": float("nan"), "deivce": "x"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for word in ("movie-sentiment", "at least 1", "positive size", "finite number", "device"):
        assert any(word in line for line in lines), (word, lines)


@pytest.mark.parametrize(
    "values", [{"batch": True}, {"batch": 1.0}, {"seeds": (-1,)}, {"budget": 2**60}, {"model": "a\0"}]
)
def test_nothing_is_converted(values: dict) -> None:
    with pytest.raises(BadInput):
        asked(values)


def test_settings_and_names_together(pintpot) -> None:
    outcome = pintpot("run", "--method", "lora", "--task", "zz", "-s", "r=four", "-s", "rr=1", "--batch", "0")
    assert outcome.code == 2
    assert all(word in outcome.err for word in ("zz", "lora.r", "rr", "batch"))


@pytest.mark.parametrize("words", [("--address", "0.0.0.0"), ("--address", "::", "--key", "x")])
def test_an_open_server_is_refused(words, pintpot) -> None:
    outcome = pintpot("lab", "--no-browser", *words)
    assert outcome.code == 3 and "other machines" in outcome.err


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5"])
def test_an_app_beyond_this_machine_is_refused(address, pintpot) -> None:
    outcome = pintpot("app", "--no-browser", "--address", address)
    assert outcome.code == 3 and "other machines" in outcome.err


@pytest.mark.parametrize("words", [("first-rum",), ("first-run", "-p", "epocs=1"), ("first-run", "-p", "seed=x")])
def test_an_app_of_bad_values_is_not_started(words, pintpot, folders) -> None:
    outcome = pintpot("app", "--no-browser", *words)
    assert outcome.code == 2 and outcome.err.startswith("pintpot: ") and not folders.files()
