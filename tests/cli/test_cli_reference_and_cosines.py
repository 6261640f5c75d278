"""What a comparison and a look at an estimate need of the command line, and that they are carried on by it."""

import json
import shlex
from dataclasses import replace

import pytest

import widgets
import workbench as wb
from workbench.records.store import RunStore

TINY = ["--task", "tokens", "--model", "tiny-bert", "--batch", "4", "--length", "12", "--train", "16", "--test", "8"]


def test_a_run_is_asked_for_cosines_and_says_so_again(pintpot, tmp_path):
    bench = wb.open("tokens", "tiny-bert", batch=4, length=12, train=16, test=8, budget="64MiB")
    panel = widgets.RunPanel(replace(bench, store=RunStore(tmp_path)), "mezo", 0, cosines=2)
    words = shlex.split(panel.info["command"])
    assert words[words.index("--cosines") + 1] == "2" and ", cosines=2)" in panel.info["python"]
    done = pintpot(*words[1:], "--json")
    assert done.code == 0, done.err
    looks = [step["layer_cosines"] for step in json.loads(done.out)["steps"]]
    assert 1 <= sum(map(bool, looks)) <= 3 and looks[0]


def test_a_grid_carries_its_reference(pintpot):
    bench = wb.open("tokens", "tiny-bert", batch=4, length=12, train=16, test=8, budget="1MiB", epochs=1)
    words = shlex.split(bench.ablate_command({"method": ["full"], "seed": [0]}, ["full"]))
    assert words[-2:] == ["--reference", "full"]
    done = pintpot(*words[1:], "--json")
    assert done.code == 0, done.err
    assert [(r["budget"], r["state"]) for r in json.loads(done.out)] == [(None, "done")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--method", "mezo", "--cosines", "-1"), "cosines: -1"),
        (("ablate", "seed=0", "--reference", "ful"), "'ful'"),
    ],
)
def test_what_cannot_be_meant_is_refused(pintpot, words, said):
    refused = pintpot(*words, *TINY)
    assert refused.code == 2 and said in refused.err
