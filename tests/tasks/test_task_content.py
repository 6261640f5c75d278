"""Unusable data are refused with a sentence; the hash sees every byte and the order."""

import gzip

import numpy as np
import pytest

from workbench.core.errors import BadInput
from workbench.models import resolve
from workbench.tasks import Sizes, tasks
from workbench.tasks.content import check_labels, check_rows, fingerprint, split
from workbench.tasks.fashion_mnist import read_idx
from workbench.tasks.newsgroups import read_posts
from workbench.tasks.sentiment import read_ratings


def test_one_class_and_empty_data_are_refused():
    with pytest.raises(BadInput, match="two classes"):
        check_labels("toy", [1, 1, 1], "training")
    with pytest.raises(BadInput, match="empty"):
        check_labels("toy", [], "training")
    check_labels("toy", [1, 1], "test", single=True)
    with pytest.raises(BadInput, match="at least 2"):
        split("toy", 1, None, None, (10, 10), 0)


def test_one_class_is_refused_through_a_task():
    task = tasks.get("movie-sentiment")()
    rows = [("good", 1)] * 4
    with pytest.raises(BadInput, match="two classes among the training"):
        task.encode(resolve("tiny-bert"), rows, rows, Sizes(), split="", seed=0)


def test_truncated_files_are_refused(tmp_path):
    ratings = tmp_path / "ratings.txt"
    ratings.write_bytes(b"1\t1.5\tfine\xe9\n2\t-0.5\tbad\n")
    assert [label for _, label in read_ratings(ratings, "toy")] == [1, 0]
    ratings.write_bytes(b"1\t1.5\tfine\n2\t-0.")
    with pytest.raises(BadInput, match=r"line 2.*truncated"):
        read_ratings(ratings, "toy")
    with pytest.raises(BadInput, match="truncated"):
        check_rows("toy", 3, 4, "rows.txt")

    posts = tmp_path / "posts.tab"
    posts.write_text("Category\tText\nd\tstring\nclass\t\nsci.med\ta b\nsci.sp")
    with pytest.raises(BadInput, match=r"line 5.*truncated"):
        read_posts(posts, "toy", 2)

    pixels = np.arange(2 * 3 * 3, dtype=np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 3, 3))
    idx = tmp_path / "x.gz"
    idx.write_bytes(gzip.compress(header + pixels.tobytes()))
    assert (read_idx(idx, "toy") == pixels.reshape(2, 3, 3)).all()
    idx.write_bytes(gzip.compress(header + pixels.tobytes()[:-1]))
    with pytest.raises(BadInput, match="truncated"):
        read_idx(idx, "toy")
    idx.write_bytes(idx.read_bytes()[:-9])
    with pytest.raises(BadInput, match="truncated"):
        read_idx(idx, "toy")


def test_fingerprint_sees_content_order_and_part():
    a, b = {"x": np.zeros(3, np.uint8), "y": 1}, {"x": np.ones(3, np.uint8), "y": 0}
    seen = {
        fingerprint([a, b], []),
        fingerprint([b, a], []),
        fingerprint([a], [b]),
        fingerprint([{**a, "y": 0}, b], []),
        fingerprint([{**a, "x": np.zeros(3, np.int8)}, b], []),
    }
    assert len(seen) == 5
    assert fingerprint([a, b], []) == fingerprint([dict(a), dict(b)], [])
