"""Counts, classes and splits of the real data sets."""

import pytest

from workbench.models import resolve
from workbench.tasks import Sizes, tasks

pytestmark = pytest.mark.assets

SENTIMENT = {
    "movie-sentiment": (10_605, 0.49),
    "amazon-sentiment": (3708, 0.57),
    "news-sentiment": (5190, 0.42),
    "tweet-sentiment": (4200, 0.69),
}


@pytest.mark.parametrize(("name", "expected"), SENTIMENT.items())
def test_sentiment_counts(pulled, name, expected):
    from workbench.tasks.sentiment import read_ratings

    task = tasks.get(name)()
    rows = read_ratings(pulled("vader") / task.file, name)
    assert len(rows) == expected[0] == task.rows
    assert sum(label for _, label in rows) / len(rows) == pytest.approx(expected[1], abs=0.01)


def test_movie_sentiment_defaults(pulled):
    pulled("vader")
    task, spec = tasks.get("movie-sentiment")(), resolve("tiny-bert")
    data = task.load(spec, Sizes(), 0)
    assert (len(data.train), len(data.test), data.classes) == (2500, 1000, 2)
    batch = task.collate(data.train[:7], spec)
    assert batch["input_ids"].shape == (7, 40)
    texts = [{tuple(e["input_ids"]) for e in part if e["attention_mask"][-1] == 0} for part in (data.train, data.test)]
    assert not texts[0] & texts[1], "no whole sentence may be in both parts"


def test_newsgroups(pulled):
    pulled("newsgroups")
    data = tasks.get("newsgroups")().load(resolve("tiny-bert"), Sizes(train=400, test=200), 0)
    assert data.classes == 20 and {e["labels"] for e in data.train} == set(range(20))


def test_fashion_mnist(pulled):
    pulled("fashion-mnist")
    task, spec = tasks.get("fashion-mnist")(), resolve("efficientnet-lite0")
    data = task.load(spec, Sizes(train=64, test=32), 0)
    batch = task.collate(data.train[:4], spec)
    assert batch["pixel_values"].shape == (4, 3, 96, 96) and batch["pixel_values"].abs().max() <= 1.01
    assert task.example_batch(spec, 4)["pixel_values"].shape == (4, 3, 96, 96)


def test_watch_exercises_hold_out_people(pulled):
    from workbench.tasks.watch_exercises import read_windows

    windows = read_windows(pulled("watch"), 100)
    task, spec = tasks.get("watch-exercises")(), resolve("tiny-sensor")
    data = task.load(spec, Sizes(), 0)
    assert (len(windows[True]), len(windows[False])) == (len(data.train), len(data.test)) == (2191, 2486)
    assert {e["labels"] for e in data.test} == set(range(7))
    batch = task.collate(data.train[:5], spec)
    assert batch["pixel_values"].shape == task.example_batch(spec, 5)["pixel_values"].shape == (5, 6, 100)
