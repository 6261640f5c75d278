"""What is kept is served to nobody whom it does not fit: other code, another host, another library, a mended fault."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from workbench import keys, predictions, races
from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import Tier
from workbench.keys import Kind, key_of
from workbench.memory import compiler, ledger
from workbench.memory.probe import Book
from workbench.methods.base import methods
from workbench.methods.full import Full
from workbench.parts.estimator.backprop import Backprop

CASE = ("tokens", "tiny-bert", "head", 2, 8)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
    predictions._recent.clear()
    predictions._refused.clear()


# -- the host ------------------------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_and_kernels_in_force_are_in_the_key(threads):
    case, found = Case(*CASE), []
    for count in (1, 2):
        threads(count)
        for mkldnn in (True, False):
            with torch.backends.mkldnn.flags(enabled=mkldnn):
                found.append((key_of(case, Kind("x")), str(races._file(case))))
    assert len({key for key, _ in found}) == len({file for _, file in found}) == 4


KEY = """
import sys
from workbench.case import Case
from workbench.keys import Kind, key_of
if sys.argv[1:]: import torch
print(key_of(Case("tokens", "tiny-bert", "head", 2, 8), Kind("x")), "torch" in sys.modules)
"""


def test_a_second_process_makes_the_same_key_without_torch():
    def said(*words, **environment):
        command = [sys.executable, "-W", "ignore", "-c", KEY, *words]
        own = {**os.environ, **environment}
        done = subprocess.run(command, capture_output=True, text=True, env=own, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    (first, asked), (second, again), (third, _) = said(), said(), said("with torch")
    assert (asked, again) == ("True", "False"), "torch says once what it does here"
    assert first == second == third
    other = "1" if torch.get_num_threads() > 1 else "2"
    if len(os.sched_getaffinity(0)) > 1:
        assert said(OMP_NUM_THREADS=other, MKL_NUM_THREADS=other)[0] != first


# -- the probe -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not ledger.available(), reason=ledger.reason())
def test_a_formula_is_not_kept_for_a_compiler_that_has_been_mended(monkeypatch, tmp_path):
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'error: no headers' >&2\nexit 1\n")
    broken.chmod(0o755)
    case = Case(*CASE)
    with monkeypatch.context() as without:
        without.setenv("CXX", str(broken))
        without.setattr(ledger, "_library", functools.cache(ledger._library.__wrapped__))
        for asked in (compiler.compiler_at_hand, compiler._compiler):
            asked.cache_clear()
        assert compiler.compiler_at_hand() is not None and not ledger.available()
        assert case.predict().source is Tier.FORMULA
        predictions._recent.clear()
        without.setattr(predictions, "traced", lambda *_: pytest.fail("traced again"))
        assert case.predict().source is Tier.FORMULA, "kept for those who are no better off"
    for asked in (compiler.compiler_at_hand, compiler._compiler):
        asked.cache_clear()
    assert case.predict().source is Tier.PROBE


# -- refusals ------------------------------------------------------------------------------------------


class Failing(Full):
    """A method whose step fails as its class attribute says."""

    name = "failing"
    failure: Exception | None = None

    def parts(self, config):
        class Step(Backprop):
            def step(self, step):
                if Failing.failure is not None:
                    raise Failing.failure
                return super().step(step)

        return replace(super().parts(config), estimator=Step())


@pytest.fixture
def failing(monkeypatch):
    methods.discover()
    methods.add("failing", Failing())
    yield lambda failure: monkeypatch.setattr(Failing, "failure", failure)
    del methods._items["failing"]


@pytest.mark.parametrize("failure", [ImportError("No module named 'ripser'"), KeyError("x"), RuntimeError("for now")])
def test_a_failure_of_a_library_is_a_refusal_of_this_process_alone(failing, failure):
    failing(failure)
    case = Case("tokens", "tiny-bert", "failing", 2, 8)
    with pytest.raises(Incompatible) as first:
        case.predict(Tier.FAKE)
    assert predictions.known(case, Tier.FAKE)
    failing(None)
    with pytest.raises(Incompatible) as again:
        case.predict(Tier.FAKE)
    assert str(again.value) == str(first.value)
    predictions._refused.clear()  # as the next process has it
    assert case.predict(Tier.FAKE).peak > 0


def test_memory_that_another_computation_had_is_no_refusal(failing):
    case = Case("tokens", "tiny-bert", "failing", 2, 8)
    failing(torch.OutOfMemoryError("the budget is spent"))
    with pytest.raises(Incompatible):
        case.predict(Tier.FAKE)
    failing(None)
    assert case.predict(Tier.FAKE).peak > 0


def test_what_peft_refuses_on_purpose_is_kept(monkeypatch):
    case = Case("pixels", "tiny-cnn", "fourierft", 2)
    with pytest.raises(Incompatible, match="peft says"):
        case.predict(Tier.FAKE)
    predictions._refused.clear()
    monkeypatch.setattr(predictions, "traced", lambda *_: pytest.fail("traced again"))
    with pytest.raises(Incompatible, match="peft says"):
        case.predict(Tier.FAKE)


# -- code and libraries --------------------------------------------------------------------------------

LOADED = """
import sys
from pathlib import Path
import workbench
from workbench.case import Case
from workbench.core.profile import Tier
from workbench.plan import fitting
for method, settings in (("lora", {}), ("green-trainer", {}), ("s2ft", {"optimizer": "adamw8bit"}), ("mezo", {})):
    case = Case("tokens", "tiny-bert", method, 2, 16, settings=settings)
    case.predict(Tier.FORMULA)
fitting.sizes_of(case, Tier.FORMULA)
from workbench.keys import DECIDING, files_of
read = {file for name in (*DECIDING, *fitting._kind(Tier.FORMULA).rests_on) for file in files_of(name)}
loaded = {Path(m.__file__) for n, m in list(sys.modules.items()) if n.startswith("workbench.")}
root = Path(workbench.__file__).parent
print(*sorted(str(file.relative_to(root)) for file in loaded - read))
"""
#: Loaded, and decide nothing: what a device is, programs that times are replayed from, records of runs.
ASIDE = {"devices/model.py", "devices/own.py", "devices/tape.py", "records/content.py", "records/schema.py"}


def test_all_code_of_ours_that_a_prediction_loads_is_in_its_key():
    command = [sys.executable, "-W", "ignore", "-c", LOADED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert {name for name in done.stdout.split() if not name.endswith("__init__.py")} <= ASIDE


def test_operators_of_other_libraries_are_not_kept_and_their_version_is_in_the_key(tmp_path, monkeypatch):
    book = Book(tmp_path / "book.jsonl")
    for name in ("aten::mm(x)", "bitsandbytes::optimizer_update(x)", "pintpot::own(x)"):
        book.add(name, (8, None))
    book.save()
    assert len(book.entries) == 3 and set(Book(book.path).entries) == {"aten::mm(x)"}
    book.path.write_text('["bitsandbytes::optimizer_update(x)", 8, null]\n')
    assert not Book(book.path).entries, "kept before their versions were minded"

    case = Case(*CASE)
    before = key_of(case, Kind("x"))
    version = keys.installed_version
    monkeypatch.setattr(keys, "installed_version", lambda name: "0.0" if name == "bitsandbytes" else version(name))
    assert key_of(case, Kind("x")) != before
