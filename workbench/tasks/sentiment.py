"""Sentiment of human-rated sentences in four domains that share the label and differ in style.

Data: Hutto and Gilbert, "VADER", ICWSM 2014: the mean of twenty human ratings from -4 to 4 for each sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from workbench.core.errors import BadInput
from workbench.tasks.base import Sizes, TaskData, register
from workbench.tasks.content import check_rows, split
from workbench.tasks.text import TextClassification

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.models.base import ModelSpec


def read_ratings(path: Path, task: str) -> list[tuple[str, int]]:
    """(sentence, 1 if the mean rating is above zero else 0) for each line ``id TAB rating TAB text``."""
    rows = []
    # Some lines are not valid UTF-8; a replaced character costs less than a dropped sentence.
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").split("\n"), 1):
        line = line.rstrip("\r")
        if not line:
            continue
        fields = line.split("\t", 2)
        try:
            rows.append((fields[2], int(float(fields[1]) > 0)))
        except (IndexError, ValueError):
            raise BadInput(
                "data", task, f"id, rating and text on line {number} of {path.name}; the file is truncated"
            ) from None
    return rows


class Sentiment(TextClassification):
    """One domain; the label is whether the mean human rating is above zero."""

    labels = ("negative", "positive")
    assets = ("vader",)
    file: ClassVar[str]
    rows: ClassVar[int]
    defaults: ClassVar[tuple[int, int]]

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        from workbench.assets import locate

        self.check(model)
        rows = read_ratings(locate("vader") / self.file, self.name)
        check_rows(self.name, len(rows), self.rows, self.file)
        rows = list({text: (text, label) for text, label in reversed(rows)}.values())[::-1]  # each text once
        train, test = split(self.name, len(rows), sizes.train, sizes.test, self.defaults, seed)
        described = f"seeded shuffle of {len(rows)} distinct sentences, {len(train)} train / {len(test)} test, disjoint"
        return self.encode(model, [rows[i] for i in train], [rows[i] for i in test], sizes, split=described, seed=seed)


@register
class MovieSentiment(Sentiment):
    name = "movie-sentiment"
    title = "Movie-review sentiment"
    doc = "Is a movie-review sentence positive? 10,605 sentences with human ratings; 51 % are positive."
    file = "movieReviewSnippets_GroundTruth.txt"
    rows = 10_605
    defaults = (2500, 1000)


@register
class AmazonSentiment(Sentiment):
    name = "amazon-sentiment"
    title = "Product-review sentiment"
    doc = "Is a product-review sentence positive? 3,708 sentences with human ratings."
    file = "amazonReviewSnippets_GroundTruth.txt"
    rows = 3708
    defaults = (2500, 700)


@register
class NewsSentiment(Sentiment):
    name = "news-sentiment"
    title = "Newspaper-editorial sentiment"
    doc = "Is an editorial sentence positive? 5,190 sentences with human ratings; the hardest of the four domains."
    file = "nytEditorialSnippets_GroundTruth.txt"
    rows = 5190
    defaults = (2500, 1000)


@register
class TweetSentiment(Sentiment):
    name = "tweet-sentiment"
    title = "Tweet sentiment"
    doc = "Is a short message positive? 4,200 messages with human ratings; 69 % are positive."
    file = "tweets_GroundTruth.txt"
    rows = 4200
    defaults = (2500, 800)
