"""An answer that cannot be kept is still an answer."""

from __future__ import annotations

import json
import resource
import threading

import pytest

from workbench.case import Case
from workbench.core import answers
from workbench.core.profile import Tier


@pytest.fixture(autouse=True)
def unsaid():
    answers._said.clear()
    yield
    answers._said.clear()


def test_a_prediction_stands_where_the_cache_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("in the way")
    case = Case("tokens", "tiny-bert", "head", 2, 8)
    with pytest.warns(UserWarning, match="answers are not kept") as said:
        assert case.predict(Tier.FAKE).peak > 0
        assert case.predict(Tier.FAKE).peak > 0
    folders = [str(one.message) for one in said if "answers are not kept" in str(one.message)]
    assert len(folders) == 1, "it is said once"


def test_a_full_disk_leaves_neither_an_answer_nor_a_part_of_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.warns(UserWarning, match="answers are not kept"):
            answers.write_answer("large", {"text": "x" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "predictions").iterdir())
    answers.write_answer("large", {"text": "x" * 10_000})
    assert answers.read_answer("large") == {"text": "x" * 10_000}


def test_threads_write_one_answer_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    failed, together = [], threading.Barrier(8)

    def write(number):
        together.wait()
        try:
            for _ in range(100):
                answers.write_answer("one", {"from": number, "long": [0] * 1000})
        except Exception as error:
            failed.append(error)

    with pytest.MonkeyPatch.context() as strict:
        strict.setattr(answers.warnings, "warn", lambda text, **_: failed.append(text))
        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    (file,) = (tmp_path / "predictions").iterdir()
    assert json.loads(file.read_text())["long"] == [0] * 1000
