"""Bad input ends with exit code 2 and one clear sentence; nothing is written."""

from __future__ import annotations

import pytest

QUICK = ("--profile", "quick")
REPORT = ("report", "compare-methods", "-p", "profile=quick")

BAD = {
    "unknown task": (("fit", "--task", "movie-sentimant"), "movie-sentiment"),
    "unknown model": (("fit", "--model", "minilmm"), "minilm"),
    "unknown device": (("fit", "--device", "raspberry-pi-44"), "raspberry-pi-4"),
    "unknown method": (("run", "--method", "lorra", *QUICK), "lora"),
    "unknown method in fit": (("fit", "--methods", "full,lorra"), "lora"),
    "unknown profile": (("run", "--method", "full", "--profile", "quik"), "quick"),
    "unknown tier": (("predict", "--model", "tiny-bert", "--tier", "prob"), "probe"),
    "unknown family": (("methods", "--family", "adapter"), "adapters"),
    "unknown run": (("runs", "show", "none"), "one of"),
    "unknown asset": (("assets", "pull", "minilmm"), "minilm"),
    "unknown device shown": (("devices", "show", "laptob"), "laptop"),
    "budget 0": (("fit", "--budget", "0"), "positive size"),
    "negative budget": (("fit", "--budget=-5MiB"), "positive size"),
    "budget NaN": (("fit", "--budget", "nan"), "positive size"),
    "budget in parsecs": (("fit", "--budget", "12 parsecs"), "positive size"),
    "budget infinite": (("fit", "--budget", "inf"), "positive size"),
    "method cannot apply": (("predict", "--model", "tiny-llama", "--method", "head"), "input embedding"),
    "model and task do not go together": (("fit", "--task", "digits", "--model", "tiny-bert"), "digits"),
    "batch larger than data": (
        ("run", "--method", "full", "--task", "docstring-topic", "--model", "tiny-bert", "--batch", "100000", *QUICK),
        "training examples",
    ),
    "batch 0": (("predict", "--model", "tiny-bert", "--batch", "0"), "at least 1"),
    "batch that is no number": (("predict", "--model", "tiny-bert", "--batch", "many"), "batch: 'many'"),
    "length beyond the model": (("predict", "--model", "tiny-bert", "--length", "4096"), "4 to 128"),
    "no seeds": (("ablate", "seed=", *QUICK), "at least one value"),
    "axis without values": (("ablate", "method", *QUICK), "AXIS=VALUE"),
    "unknown setting": (("predict", "--model", "tiny-bert", "--method", "lora", "-s", "rr=4"), "Nearest: r"),
    "setting with a slip": (
        ("predict", "-m", "tiny-bert", "-s", "saevd=int8"),
        "setting of full: 'saevd' is not usable",
    ),
    "setting of the wrong type": (("predict", "--model", "tiny-bert", "--method", "lora", "-s", "r=four"), "lora.r"),
    "setting without value": (("predict", "--model", "tiny-bert", "--method", "lora", "-s", "r"), "NAME=VALUE"),
    "setting twice": (("predict", "--model", "tiny-bert", "--method", "lora", "-s", "r=4", "-s", "r=8"), "once"),
    "setting out of range": (("predict", "--model", "tiny-bert", "--method", "full", "-s", "lr=-1"), "full.lr"),
    "rank 0": (("run", "--method", "lora", "-s", "r=0", *QUICK), "lora.r: 0 is not usable; expected at least 1"),
    "rank of a slipped finger": (("run", "--method", "lora", "-s", "r=99999999999999", *QUICK), "at most 65536"),
    "alpha 0": (("run", "--method", "loha", "-s", "alpha=0", *QUICK), "loha.alpha: 0"),
    "dropout of all": (("run", "--method", "lora", "-s", "lora_dropout=1", *QUICK), "below 1"),
    "convolution that is not there": (
        ("predict", "--model", "mcu-net", "--method", "int8-training", "-s", "update=-99:1"),
        "int8-training.update: -99",
    ),
    "share of no slice": (
        ("predict", "--model", "mcu-net", "--method", "int8-training", "-s", "update=-1:7/3"),
        "usable; expected 'all', or",
    ),
    "one run to compare": (("compare", "x"), "two run ids"),
    "report with a path": (("report", "../secret"), ""),
    "report unknown": (("report", "compare-method"), "compare-methods"),
    "report parameter unknown": ((*REPORT, "-p", "tsak=digits"), "task"),
    "report parameter of the wrong type": ((*REPORT, "-p", "seeds=many"), "seeds"),
    "report with no seeds of the right kind": ((*REPORT, "-p", "seeds=[-1]"), "seeds"),
    "report with a bad budget": ((*REPORT, "-p", "budget=12 parsecs"), "positive size"),
    "report with an unknown method": ((*REPORT, "-p", 'methods=["lorra"]'), "lora"),
    "unknown verb": (("fitt",), "fit"),
    "unknown option": (("fit", "--buget", "1MiB"), "budget"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name: str, pintpot, folders) -> None:
    words, said = BAD[name]
    before = folders.files()
    outcome = pintpot(*words)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err + outcome.out
    assert said in outcome.err
    assert outcome.err.startswith("pintpot: ")
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    assert outcome.out == ""
    assert folders.files() == before


@pytest.mark.parametrize("verb", ["predict", "measure", "plan", "run --train 4 --test 2"])
def test_a_length_that_virtual_tokens_leave_no_positions_for_is_named(pintpot, folders, verb: str) -> None:
    at_the_end = ("--model", "tiny-bert", "--method", "prompt-tuning", "--batch", "2", "--length", "128")
    outcome = pintpot(*verb.split(), "--task", "tokens", *at_the_end)
    assert outcome.code == 2
    assert "length: 128 cannot be used here: 8 virtual tokens" in outcome.err
    assert "at most 120 of the model's 128" in outcome.err and "tensor" not in outcome.err
    assert not (folders.root / "runs" / "runs.sqlite").exists(), "bad input leaves no record"
