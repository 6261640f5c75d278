"""Examples to choose by come from training, are trained on no more, and leave the test set unread."""

from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from workbench.ablate import Cell
from workbench.core.errors import BadInput, Incompatible
from workbench.models import resolve
from workbench.tasks import Sizes, tasks
from workbench.tasks.base import TaskData
from workbench.tasks.validation import set_aside


def pictures(examples):
    return {e["image"].tobytes() for e in examples}


def test_examples_set_aside_are_of_training_and_trained_on_no_more():
    task, spec = tasks.get("digits")(), resolve("tiny-cnn")
    whole = task.load(spec, Sizes(train=60, test=20), 0)
    found, again = (task.loaded(spec, Sizes(train=60, test=20, validation=15), 0) for _ in range(2))
    assert (len(found.train), len(found.test)) == (45, 15) and found.hash == again.hash != whole.hash
    assert not pictures(found.train) & pictures(found.test)
    assert pictures(found.train) | pictures(found.test) == pictures(whole.train)
    assert "15 training examples set aside" in found.split
    assert task.loaded(spec, Sizes(train=60, test=20), 0).hash == whole.hash


def grouped(people):
    examples = [{"values": np.array([i]), "labels": i % 2} for i in range(len(people))]
    return TaskData(examples, examples[:2], 2, ("a", "b"), "", "", "by person", 0, groups=tuple(people))


def test_whole_groups_leave_training():
    people = [1, 2, 3] * 6
    found = set_aside(grouped(people), 4, "mine")
    of = lambda examples: {people[int(e["values"][0])] for e in examples}  # noqa: E731
    assert len(found.test) == 4 and len(of(found.test)) == 1 and not of(found.test) & of(found.train)
    assert len(found.train) == len(found.groups) == 12, "the rest of that person is not trained on either"
    assert len(set_aside(grouped(people), 9, "mine").train) == 6


@pytest.mark.parametrize("count", [0, -1, 18, 99, True])
def test_a_split_that_leaves_nothing_is_refused(count):
    with pytest.raises(BadInput, match="validation"):
        set_aside(grouped([1, 2, 3] * 6), count, "mine")


def test_what_is_scored_in_another_form_cannot_be_set_aside():
    data = grouped([1, 2])
    with pytest.raises(Incompatible, match="examples to train mine on"):
        set_aside(replace(data, test=[{"text": ""}]), 1, "mine")


def test_a_bench_that_validates_keeps_other_runs_apart():
    bench = wb.open("digits", "tiny-cnn", budget="64GiB", train=60, test=20)
    case = bench.case("head")
    assert bench.cell(case, 0).key() == Cell(case, 0, bench.budget, bench.schedule, Sizes(60, 20)).key()
    assert bench.validating(15).cell(case, 0).key() != bench.cell(case, 0).key()
    assert bench.validating(15).run_command("head") == ""
    assert ".validating(15)" in bench.validating(15).run_python("head")
