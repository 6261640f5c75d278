"""Judging of calls: what is accepted, what is not, and that the wanted answers themselves score 100 %."""

import json
from types import SimpleNamespace

import pytest
import torch

from workbench.models import resolve
from workbench.tasks import Sizes, tasks
from workbench.tasks.call_match import arguments_match, first_answer, judge
from workbench.tasks.language import IGNORED

WANTED = {"base": [10], "unit": ["units", ""], "name": ["New York", "NYC"], "sides": [[1, 2]], "flag": [True]}
GIVEN = {"base": 10, "name": "new-york", "sides": [1, 2], "flag": True}


def test_accepted_answers():
    assert arguments_match(GIVEN, WANTED)
    assert arguments_match({**GIVEN, "unit": "Units", "name": "NYC", "base": 10.0}, WANTED)
    assert arguments_match({"where": {"city": "Rome"}}, {"where": [{"city": ["Rome", "Roma"], "zip": ["", 1]}]})


@pytest.mark.parametrize(
    "change",
    [
        {"base": 11},
        {"base": "10"},
        {"base": True},
        {"flag": 1},
        {"sides": [2, 1]},
        {"sides": [1]},
        {"extra": 1},
        {"name": 3},
    ],
)
def test_refused_answers(change):
    assert not arguments_match({**GIVEN, **change}, WANTED)


def test_a_needed_argument_may_not_be_left_out():
    assert not arguments_match({k: v for k, v in GIVEN.items() if k != "base"}, WANTED)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("area(base=10)", (False, False, False)),
        ('{"name": "area", "arguments": {"base": 10}', (False, False, False)),
        ('["area"]', (False, False, False)),
        ('{"name": "area", "arguments": [10]}', (False, False, False)),
        ('{"name": "volume", "arguments": {"base": 10}}', (True, False, False)),
        ('{"name": "area", "arguments": {"base": 9}}', (True, True, False)),
        (' {"name": "area", "arguments": {"base": 10}}\n', (True, True, True)),
        ("[" * 100_000, (False, False, False)),
    ],
)
def test_verdicts(answer, expected):
    verdict = judge(answer, "area", {"base": [10]})
    assert (verdict.valid_json, verdict.name, verdict.exact) == expected


def test_first_answer_leaves_out_what_may_be_left_out():
    assert json.loads(first_answer("f", WANTED))["arguments"] == {
        "base": 10,
        "name": "New York",
        "sides": [1, 2],
        "flag": True,
    }


@pytest.mark.assets
class TestRealData:
    def test_every_wanted_answer_is_exact(self, pulled):
        from workbench.tasks.function_calling import read_calls

        rows = read_calls(pulled("bfcl"), "function-calling")
        assert len(rows) == 400
        assert all(judge(first_answer(r["name"], r["wanted"]), r["name"], r["wanted"]).exact for r in rows)

    def test_only_the_answer_is_counted(self, pulled):
        pulled("bfcl")
        spec = resolve("tiny-llama")
        data = tasks.get("function-calling")().load(spec, Sizes(train=6, test=3, length=320), 0)
        tokenizer = spec.tokenizer()
        for example in data.train:
            counted = [i for i, label in zip(example["input_ids"], example["labels"]) if label != IGNORED]
            assert counted == [label for label in example["labels"] if label != IGNORED]
            assert counted[-1] == tokenizer.eos_token_id
            assert judge(tokenizer.decode(counted[:-1]), example["name"], example["wanted"]).exact
            assert len(example["input_ids"]) == 320

    def test_scoring_a_model_that_knows_the_answers_and_one_that_does_not(self, pulled):
        pulled("bfcl")
        task, spec = tasks.get("function-calling")(), resolve("tiny-llama")
        data = task.load(spec, Sizes(train=4, test=6, length=320), 0)
        model = spec.build(None)
        ignorant = task.score(model, data, spec, batch=4)
        assert ignorant.value == 0 and ignorant.details["loss"] > 5 and ignorant.count == 6

        pad, known = spec.tokenizer().pad_token_id, {tuple(e["prompt"]): e for e in data.test}

        def recite(input_ids, attention_mask, max_new_tokens, **options):
            rows = []
            for ids, mask in zip(input_ids, attention_mask):
                labels = known[tuple(ids[mask.bool()].tolist())]["labels"]
                answer = [label for label in labels if label != IGNORED]
                assert len(answer) <= max_new_tokens
                rows.append(answer + [pad] * (max_new_tokens - len(answer)))
            return torch.cat([input_ids, torch.tensor(rows)], 1)

        model.generate = recite
        perfect = task.score(model, data, spec, batch=4)
        assert perfect.value == 1 and perfect.details["valid_json"] == 1 and perfect.details["cut_off"] == 0
        assert SimpleNamespace(**perfect.details).name == 1
