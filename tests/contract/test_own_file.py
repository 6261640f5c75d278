"""A method in a file of the user's own needs no installation; a file that will not do is refused in a sentence."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

from workbench.bench import open as open_bench
from workbench.core.errors import BadInput, UnknownName
from workbench.core.own_file import digest_of_module
from workbench.methods.base import methods
from workbench.testing import judged

OWN = """
from __future__ import annotations
{head}
from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register


class OwnConfig(MethodConfig):
    lr: float = setting({rate}, "learning rate", gt=0, le=10)


@register
class Own(Method):
    name = "{name}"
    card = Card("Own {name}", "partial", "no paper", "The head by SGD.", "Nearly everything but weights.")
    Config = OwnConfig

    def parts(self, config):
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.head import Head
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(Head(), Backprop(), named("sgd"), AsLoaded())
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """``written(...)`` writes a file with a method; what is loaded here is forgotten afterwards."""
    methods.discover()
    before = dict(methods._items)
    monkeypatch.delenv("PINTPOT_METHODS", raising=False)
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))

    def write(file="mine.py", name="own-head", rate="1e-1", head=""):
        path = tmp_path / file
        path.write_text(OWN.format(name=name, rate=rate, head=head))
        return path

    yield write
    methods._items, methods.files = before, {}
    os.environ.pop("PINTPOT_METHODS", None)


def test_a_loaded_file_is_known_here_and_in_processes_started_later(written):
    path = written()
    assert methods.load(path) == ["own-head"]
    assert "own-head" in methods and methods.files == {"own-head": path}
    done = subprocess.run(
        [sys.executable, "-c", "from workbench.cli import main; main()", "methods", "--json"],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert "own-head" in {m["name"] for m in json.loads(done.stdout)}, done.stderr


def test_an_edited_file_is_another_method_to_the_cache_and_the_store(written):
    def identity():
        return open_bench("pixels", "tiny-cnn", budget="1GiB", batch=2).case("own-head").identity()

    methods.load(written())
    first = identity()
    assert first["config"]["lr"] == 0.1
    methods.load(written(rate="2e-1"))
    assert methods.get("own-head").Config().lr == 0.2
    methods.load(written(rate="1e-1", head="# a word"))
    assert identity()["config"] == first["config"] and identity() != first
    assert "source" not in open_bench("pixels", "tiny-cnn", budget="1GiB", batch=2).case("head").identity()


def test_a_renamed_method_leaves_no_old_name(written):
    methods.load(written())
    assert methods.load(written(name="other-head")) == ["other-head"]
    assert "own-head" not in methods


@pytest.mark.parametrize(
    "file, given, words",
    [
        ("mine.py", {"name": "lora"}, ["name: 'lora'", "no other method"]),
        ("mine.py", {"head": "1 / 0"}, ["mine.py", "ZeroDivisionError in line 3"]),
        ("mine.py", {"head": "def"}, ["mine.py", "SyntaxError in line 3"]),
        ("mine.txt", {}, ["mine.txt", "Python file"]),
    ],
)
def test_a_file_that_will_not_do_is_refused_and_changes_nothing(written, file, given, words):
    known = methods.names()
    lora = methods.get("lora")
    with pytest.raises(BadInput) as refused:
        methods.load(written(file, **given))
    said = str(refused.value)
    assert all(word in said for word in words) and "\n" not in said
    assert methods.names() == known and methods.get("lora") is lora
    assert "PINTPOT_METHODS" not in os.environ


def test_a_file_without_a_method_and_one_that_is_not_there(written, tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(BadInput, match="registers a method"):
        methods.load(empty)
    with pytest.raises(BadInput, match="exists"):
        methods.load(tmp_path / "nowhere.py")


def test_a_name_that_a_broken_file_may_know_says_so(written, monkeypatch):
    written(head="1 / 0")
    monkeypatch.setitem(methods.failed, "mine.py", "method file: 'mine.py' does not run")
    with pytest.raises(UnknownName, match=r"mine\.py"):
        methods.get("own-head")


def test_the_contract_names_what_it_finds(written):
    methods.load(written(head="import torch"))
    found = {one.check: one for one in judged("own-head")}
    assert len(found) == 13
    assert [name for name, one in found.items() if not one.holds] == ["listing_needs_no_torch"]
    assert "where it is used" in found["listing_needs_no_torch"].objection


@pytest.mark.slow
def test_workers_know_it_too(written, tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    methods.load(written())
    bench = open_bench("digits", "tiny-cnn", budget="1GiB", profile="quick", train=32, test=16, epochs=1)
    (record,) = bench.ablate({"method": ["own-head"], "seed": [0]}, workers=2)
    assert record.state == "done" and record.method == "own-head", record.reason


def test_a_helper_beside_a_file_or_in_a_package_is_part_of_the_method(written, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    helper = tmp_path / "own_helper.py"
    helper.write_text("rank = 1\n")
    path = written(head="import own_helper")
    methods.load(path)
    first = methods.get("own-head").source
    helper.write_text("rank = 2\n")
    methods.load(path)
    assert methods.get("own-head").source != first

    package = tmp_path / "own_package" / "inner"
    package.mkdir(parents=True)
    for name in ("__init__.py", "../__init__.py", "../deciding.py"):
        (package / name).write_text("rank = 1\n")
    monkeypatch.setitem(sys.modules, "own_package", importlib.import_module("own_package"))
    monkeypatch.setitem(sys.modules, "own_package.inner", importlib.import_module("own_package.inner"))
    before = digest_of_module("own_package.inner")
    (package.parent / "deciding.py").write_text("rank = 2\n")
    assert digest_of_module("own_package.inner") != before
