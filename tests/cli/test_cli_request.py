"""Every problem of a request at once, in the user's terms; servers that would let others in are not started."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from workbench.core.errors import BadInput, ManyBadInputs
from workbench.request import asked, sweep_of


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


def test_of_very_many_problems_the_first_are_said() -> None:
    with pytest.raises(ManyBadInputs, match=r"\.\.\. and 950 more") as caught:
        asked({"seeds": tuple(range(-1000, 0))})
    assert len(str(caught.value).splitlines()) == 51


def test_settings_and_names_together(pintpot) -> None:
    outcome = pintpot("run", "--method", "lora", "--task", "zz", "-s", "r=four", "-s", "rr=1", "--batch", "0")
    assert outcome.code == 2
    assert all(word in outcome.err for word in ("zz", "lora.r", "rr", "batch"))


EVERY = {
    "run": (
        ("--method", "lroa", "--task", "tokns", "--batch", "-1", "--epochs", "nan", "--seed", "x", "-s", "r"),
        ("lora", "tokens", "batch: -1", "epochs: nan", "seed: 'x'", "--set: 'r'"),
    ),
    "run ": (("--method", "lora", "-s", "r=1e400", "-s", "alpha=nan", "-s", "r"), ("lora.r: inf", "lora_alpha", "'r'")),
    "search": (
        ("--methods", "lora,lst-blocks", "--trials", "-1", "--budget", "x"),
        ("last-blocks", "trials: -1", "budget: 'x'"),
    ),
    "equal": (
        ("full", "lora r=x y", "lora r=x", "lroa", "--by", "tme", "--amount", "-1", "--seeds", "-1,b"),
        ("'y'", "lora.r: 'x'", "'lroa'", "Nearest: time", "amount: -1", "seeds.0: -1", "seeds.1: 'b'"),
    ),
    "ablate": (("seed=0..5", "method", "--workers", "0"), ("seed: '0..5'", "axis: 'method'", "workers: 0")),
    "ablate ": (("method=lora,lroa", "seeed=0", "r=4"), ("'lroa'", "Nearest: seed")),
    "ablate  ": (("r=0,a", "lr=x,-1", "method=lora"), ("lora.r: 0", "lora.r: 'a'", "lora.lr: 'x'", "lora.lr: -1")),
    "fit": (("--methods", "lroa,ful", "--batch", "x", "--tier", "prob"), ("'lroa'", "Nearest: full", "'x'", "probe")),
    "plan": (
        ("--method", "lora", "--by", "sped", "--vary", "r=0", "--vary", "q", "--batch", "0"),
        ("Nearest: speed", "lora.r: 0", "axis: 'q'", "batch: 0"),
    ),
    "predict": (
        ("--model", "minilmm", "--length", "x", "--accumulate", "0", "--tier", "p"),
        ("minilm", "length: 'x'", "accumulate: 0", "probe"),
    ),
    "report": (
        ("compare-methods", "-p", "batch=1.5", "-p", "seeds=x", "-p", "profile=quick", "-p", "profile=quick",
         "--cell-timeout", "0", "--memory", "none"),
        ("batch: 1.5 is not usable; expected a whole number", "seeds.0: 'x'", "each name once", "timeout", "memory"),
    ),
    "report ": (("all", "-p", "batch=1.5", "-p", "tsak=x"), ("batch: 1.5", "'tsak'")),
    "lab": (("--port", "1", "--certificate", "/nope", "--key", "/nope"), ("port: 1", "certificate: '/nope'", "key: '")),
}  # fmt: skip


@pytest.mark.parametrize("verb", EVERY)
def test_a_command_names_every_problem_at_once(verb: str, pintpot, folders) -> None:
    words, said = EVERY[verb]
    outcome = pintpot(verb.strip(), *words)
    assert outcome.code == 2 and not outcome.out and "Traceback" not in outcome.err
    assert [word for word in said if word not in outcome.err] == [], outcome.err
    assert len(outcome.err.splitlines()) == len(said)
    assert folders.files() == set()


def test_help_shows_the_kind_of_a_value(pintpot) -> None:
    lines = pintpot("run", "--help").out.splitlines()
    assert any("--batch" in line and "<int>" in line for line in lines)
    assert any("--epochs" in line and "<float>" in line for line in lines)


@pytest.mark.parametrize("given", ["postgresql://u:hush@[::/x", "postgresql://u:hush@h:port/x", "mysql://u:hush@h/x"])
def test_a_store_that_is_no_url_is_named_without_its_password(given, pintpot, folders, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_STORE", given)
    outcome = pintpot("runs")
    assert outcome.code == 2 and outcome.err.startswith("pintpot: PINTPOT_STORE: ")
    assert "hush" not in outcome.err and not folders.files()


def test_a_certificate_without_its_key_is_refused(pintpot) -> None:
    outcome = pintpot("lab", "--no-browser", "--certificate", __file__)
    assert outcome.code == 2 and outcome.err.startswith("pintpot: key: ")


@pytest.mark.parametrize("words", [("--address", "0.0.0.0"), ("--address", "::", "--key", __file__)])
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


@pytest.mark.parametrize("verb", ["lab", "app"])
def test_a_port_that_somebody_listens_on_is_refused(verb, pintpot) -> None:
    pytest.importorskip({"lab": "jupyterlab", "app": "voila"}[verb])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = pintpot(verb, "--no-browser", "--port", str(taken.getsockname()[1]))
    assert outcome.code == 2 and "--port" in outcome.err and "Open" not in outcome.out


SWEEP = """
task = "digits"
profile = "quick"
budget = "1GiB"
train = 60
test = 30
steps = 2

[axes]
method = ["head", "full"]
seed = [0]
"""


def test_a_file_says_a_whole_sweep_and_options_win(tmp_path, pintpot) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(SWEEP)
    outcome = pintpot("ablate", "--file", str(file), "--test", "20", "--json")
    assert outcome.code == 0, outcome.err
    records = json.loads(outcome.out)
    assert [r["method"] for r in records] == ["head", "full"]
    assert all(len(r["steps"]) == 2 and r["score"]["count"] == 20 for r in records)


def test_runs_of_a_grid_are_listed_and_compared_by_what_tells_them_apart(pintpot) -> None:
    words = (
        "--task",
        "digits",
        "--model",
        "tiny-cnn",
        "--train",
        "30",
        "--test",
        "10",
        "--epochs",
        "1",
        "--batch",
        "8",
    )
    outcome = pintpot("ablate", "method=head", "accumulate=1,2", *words)
    assert outcome.code == 0, outcome.err
    assert "accumulate 1" in outcome.out and "accumulate 2" in outcome.out
    runs = [run["id"] for run in json.loads(pintpot("runs", "--json").out)]
    shown = [json.loads(pintpot("runs", "show", run).out) for run in runs]
    assert [(run["batch"], run["accumulate"]) for run in shown] == [(8, 2), (8, 1)]
    for command in (("runs", "compare", *runs), ("compare", *runs, "--diff")):
        assert "accumulate" in pintpot(*command).out
    refused = pintpot("ablate", "method=head", "accumulate=1,4", *words)
    assert refused.code == 2 and "batch: 32" in refused.err and "at most the 30 training examples" in refused.err


BAD_FILES = {
    "no toml": ("task = ", "TOML"),
    "unknown field": (SWEEP.replace("task =", "tsak ="), "Nearest: task"),
    "unknown task": (SWEEP.replace("digits", "digit"), "digits"),
    "seeds beside axes": ("seeds = [0]\n" + SWEEP, "an axis: seed"),
    "no axes": ('task = "digits"', "at least one axis"),
    "an axis that is no list": (SWEEP.replace("seed = [0]", "seed = 0"), "axes.seed"),
    "a value twice": (SWEEP.replace("[0]", "[0, 0]"), "each once"),
    "brackets within brackets": ("x = " + "[" * 100_000, "lists within lists"),
    "a number of thousands of digits": ("batch = " + "9" * 5000, "TOML"),
    "too many cells": (SWEEP.replace("[0]", str(list(range(50_001)))), "at most 100,000 cells"),
    "too long": ("# " + "x" * 2**22, "at most 4.00 MiB"),
    "workers 0": ("workers = 0\n" + SWEEP, "at least 1"),
}


WRONG = """
modl = "tiny-bert"

[axes]
method = ["lora", "lroa"]
sed = [0]
seed = [0, -1, 1.5]
r = ["a", 0]
lr = ["x"]
"""


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    text, said = BAD_FILES[name]
    (tmp_path / "sweep.toml").write_text(text)
    with pytest.raises(BadInput, match=said.replace("[", r"\[")):
        sweep_of(tmp_path / "sweep.toml")


def test_every_problem_of_a_file_at_once_and_nothing_run(tmp_path, pintpot, folders) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(SWEEP.replace("digits", "digit").replace("train = 60", "train = 0"))
    before = folders.files()
    outcome = pintpot("ablate", "--file", str(file))
    assert outcome.code == 2 and "digits" in outcome.err and "train" in outcome.err
    assert folders.files() == before
    file.write_text(WRONG)
    outcome = pintpot("ablate", "--file", str(file), "--batch", "0")
    named = (
        "'modl'",
        "'lroa'",
        "'sed'",
        "seed: -1",
        "seed: 1.5",
        "lora.r: 'a'",
        "lora.r: 0",
        "lora.lr: 'x'",
        "batch: 0",
    )
    assert outcome.code == 2 and [word for word in named if word not in outcome.err] == [], outcome.err
    assert pintpot("ablate", "seed=0", "--file", str(file)).code == 2
