"""A method that lives in another distribution shows up everywhere, and a broken one takes nothing with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import workbench

TOY = '''
"""A toy method from outside: the head, by plain SGD."""

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register


class ToyConfig(MethodConfig):
    lr: float = setting(1e-1, "learning rate", gt=0, le=10)
    wiggle: int = setting(3, "a setting of its own", ge=1, le=9, unit="steps")


@register
class Toy(Method):
    name = "toy-outside"
    card = Card("Toy", "partial", "no paper", "The head by SGD.", "Nearly everything but weights.")
    Config = ToyConfig

    def applies_to(self, model):
        return None if model.kind == "text-encoder" else "the toy reads whole texts only"

    def parts(self, config):
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.head import Head
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(Head(), Backprop(), named("sgd"), AsLoaded())
'''


#: The package under test, which need not be the installed one.
ROOT = Path(workbench.__file__).parents[1]


def _distribution(folder: Path, module: str, source: str) -> None:
    """A package as an installer would leave it: a module beside its metadata."""
    (folder / f"{module}.py").write_text(textwrap.dedent(source))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pintpot.methods]\n{module} = {module}\n")


@pytest.fixture
def outside(tmp_path: Path):
    """``run(*words)`` runs Python with the outside packages installed and every folder temporary."""
    site = tmp_path / "site"
    site.mkdir()
    _distribution(site, "toy_outside", TOY)
    variables = {f"PINTPOT_{n}": str(tmp_path / n.lower()) for n in ("CACHE", "RUNS", "REPORTS")}
    environment = {**os.environ, **variables, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}

    def run(*words: str, timeout: int = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=timeout, env=environment, cwd=tmp_path
        )

    run.site, run.folder = site, tmp_path  # type: ignore[attr-defined]
    return run


PINTPOT = ("-c", "from workbench.cli import main; main()")


def test_it_is_listed_with_its_card_and_settings(outside) -> None:
    done = outside(*PINTPOT, "methods", "--json")
    assert done.returncode == 0, done.stderr
    found = {m["name"]: m for m in json.loads(done.stdout)}
    assert found["toy-outside"]["title"] == "Toy"
    assert {s["name"] for s in found["toy-outside"]["settings"]} >= {"optimizer", "lr", "wiggle"}
    assert len(found) > 40


def test_it_is_judged_by_fit(outside) -> None:
    words = ("fit", "--task", "docstring-topic", "--model", "tiny-bert", "--batch", "2", "--length", "8")
    done = outside(*PINTPOT, *words, "--methods", "toy-outside,full", "--budget", "64MiB", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(done.stdout)}
    assert rows["toy-outside"]["fits"] == "fits"
    assert rows["toy-outside"]["peak"] < rows["full"]["peak"]


def test_a_form_is_made_from_its_config(outside) -> None:
    code = """
        import widgets
        from workbench.methods.base import methods
        form = widgets.form(methods.get("toy-outside").Config)
        form.controls["wiggle"].value = 5
        assert form.value.wiggle == 5, form.value
        assert "wiggle" in form.controls["wiggle"].description
    """
    done = outside("-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr[-800:]


def test_it_passes_the_shipped_contract(outside) -> None:
    test = outside.folder / "test_toy.py"
    test.write_text(
        "from workbench.testing import MethodContract\n\n\nclass TestToy(MethodContract):\n    method = 'toy-outside'\n"
    )
    done = outside("-m", "pytest", "-q", "-p", "no:cacheprovider", str(test))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "13 passed" in done.stdout


def test_a_broken_package_is_named_and_takes_nothing_with_it(outside) -> None:
    _distribution(outside.site, "broken_outside", "raise RuntimeError('made to fail')\n")
    listed = outside(*PINTPOT, "methods", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {"toy-outside", "lora"} <= {m["name"] for m in json.loads(listed.stdout)}
    looked = outside(*PINTPOT, "doctor", "--json")
    finding = next(f for f in json.loads(looked.stdout) if f["what"] == "methods")
    assert looked.returncode == 1
    assert finding["level"] == "problem" and "broken_outside" in finding["text"] and "made to fail" in finding["text"]


@pytest.mark.slow
def test_it_stands_in_a_rendered_report(outside) -> None:
    out = outside.folder / "rendered"
    words = (
        "report",
        "compare-methods",
        "-p",
        "profile=quick",
        "-p",
        'methods=["full","lora","last-blocks","bias","mezo","toy-outside"]',
    )
    done = outside(*PINTPOT, *words, "--out", str(out), timeout=580)
    assert done.returncode == 0, done.stderr[-2000:]
    page = next(path for path in out.glob("*.html") if path.name != "index.html")
    assert "toy-outside" in page.read_text("utf-8")
    assert page.stat().st_size < 300_000, "a comparison of the quick profile's methods and one more, with its figures"
