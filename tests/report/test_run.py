"""Notebooks run with checked parameters, from anywhere, and leave one report whatever happens."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench.core.errors import BadInput, UnknownName
from workbench.report import run
from workbench.report.execution import Limits
from workbench.report.gallery import read_summary

PARAMETERS = """\
task: str = "toy"  # what to train on
budget: str = "256 MiB"  # memory budget
seeds: list = [0, 1]  # one run for each
rate: float = 0.5  # a number
count: int = 3  # a whole number
fast: bool = False  # a switch
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A folder of notebooks and one of reports; the working directory is neither."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("workbench.core.paths.notebooks", lambda: tmp_path / "notebooks")
    monkeypatch.setenv("PINTPOT_REPORTS", str(tmp_path / "reports"))
    monkeypatch.chdir(tmp_path / "elsewhere")

    def write(name, *code):
        cells = [new_markdown_cell("# A question"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        cells += [new_code_cell(c) for c in code]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(new_notebook(cells=cells, metadata=metadata), tmp_path / "notebooks" / name)

    write.reports = tmp_path / "reports"
    return write


def test_names_come_from_the_folder(house):
    house("10_compare_methods.ipynb")
    assert list(run.available()) == ["compare-methods"]
    assert run.parameters("compare-methods")["seeds"].default == [0, 1]
    assert run.parameters("compare-methods")["task"].doc == "what to train on"


@pytest.mark.parametrize("name", ["../../etc/passwd", "10_compare_methods", "compare-methods.ipynb", "/x", ""])
def test_only_names_of_notebooks_are_names(house, name):
    house("10_compare_methods.ipynb")
    with pytest.raises(UnknownName):
        run.render(name)
    assert not house.reports.exists()


@pytest.mark.parametrize(
    "params",
    [
        {"no_such_parameter": 1},
        {"seeds": []},
        {"seeds": 0},
        {"seeds": [1, 1]},
        {"count": 1.5},
        {"count": True},
        {"count": "3"},
        {"rate": float("nan")},
        {"fast": "yes"},
        {"task": 7},
        {"budget": "12 parsecs"},
        {"budget": "0"},
        {"budget": "-5MiB"},
        {"budget": "nan"},
    ],
    ids=str,
)
def test_bad_parameters_are_refused_before_anything_is_written(house, params):
    house("10_toy.ipynb")
    with pytest.raises(BadInput) as caught:
        run.render("toy", params)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert not house.reports.exists()


def test_every_problem_is_said_at_once(house):
    house("10_toy.ipynb")
    with pytest.raises(BadInput) as caught:
        run.render("toy", {"sedes": [1], "count": "x"})
    assert "seeds" in str(caught.value) and "count" in str(caught.value)


def test_the_caller_sees_all_values_and_may_refuse(house):
    house("10_toy.ipynb")
    seen = {}

    def check(values):
        seen.update(values)
        raise BadInput("task", values["task"], "another")

    with pytest.raises(BadInput):
        run.render("toy", {"rate": 1}, check=check)
    assert seen["rate"] == 1.0 and seen["task"] == "toy" and seen["seeds"] == [0, 1]
    assert not house.reports.exists()


def test_report_of_a_notebook(house, monkeypatch):
    house(
        "10_toy.ipynb",
        "import os, sys\nfrom workbench.report import emit\n"
        "emit.answer(f'{task} {seeds} {rate} ' + os.environ['PINTPOT_HEADLESS'])\n"
        f"print(sys.executable == {sys.executable!r})",
    )
    done = run.render("toy", {"task": 'a "quoted" \\ {task}\n', "rate": 2}, progress=False)
    text = done.html.read_text(encoding="utf-8")
    assert done.failed == () and done.html.parent == house.reports / "toy" and done.html.is_absolute()
    assert "True" in text and "pintpot report toy" in text and "rate=2.0" in text
    summary = read_summary(done.html)
    assert summary["answer"] == 'a "quoted" \\ {task}\n [0, 1] 2.0 1'
    assert summary["status"] == "done" and summary["params"]["budget"] == "256 MiB"
    assert "toy" in done.gallery.read_text(encoding="utf-8") and done.gallery == house.reports / "index.html"
    assert "PINTPOT_HEADLESS" not in __import__("os").environ


def test_a_failing_cell_is_branded_and_its_notebook_kept(house):
    house(
        "10_toy.ipynb", "kept = 'this was done before'\nprint(kept)", "raise RuntimeError('no luck')", "print('never')"
    )
    done = run.render("toy", progress=False)
    text = done.html.read_text(encoding="utf-8")
    assert done.failed == (3,) and "no luck" in done.error
    assert "FAILED at cell 3" in text and "this was done before" in text and "no luck" in text
    assert json.loads(done.notebook.read_text())["cells"]
    assert read_summary(done.html)["status"] == "failed"
    assert "failed" in done.gallery.read_text(encoding="utf-8")
    leftovers = [p.name for p in house.reports.rglob("*") if p.name.startswith(".")]
    assert leftovers == []


def test_a_cell_that_hangs_ends_the_report(house):
    house("10_toy.ipynb", "import time\ntime.sleep(60)")
    done = run.render("toy", progress=False, limits=Limits(cell_timeout=3))
    assert done.failed == (2,) and done.ended == "timed out" and "3 s" in done.error
    assert "FAILED" in done.html.read_text(encoding="utf-8")


def test_a_folder_with_braces_is_refused(house, tmp_path):
    house("10_toy.ipynb")
    with pytest.raises(BadInput):
        run.render("toy", out=tmp_path / "{task}")
    assert not Path(tmp_path / "{task}").exists()


def test_gallery_bears_damaged_and_foreign_files(house):
    from workbench.report.gallery import build

    (house.reports / "x").mkdir(parents=True)
    (house.reports / "x" / "a.html").write_text("<script id='pintpot-report'>{broken", encoding="utf-8")
    (house.reports / "x" / "b.html").write_bytes(b"\xff\xfe\x00nonsense")
    assert "No report has been made yet" in build(house.reports).read_text(encoding="utf-8")


def test_what_a_cell_printed_before_it_was_stopped_is_kept(house):
    house("10_toy.ipynb", "import time\nfor i in range(6):\n    print('line', i, flush=True)\ntime.sleep(99)")
    done = run.render("toy", progress=False, limits=Limits(cell_timeout=12))  # a busy machine begins late
    assert "line 5" in done.html.read_text(encoding="utf-8")


def test_a_cell_that_takes_too_much_memory_is_a_result(house):
    house("10_toy.ipynb", "print('before')", "x = bytearray(2**30)\nx[::4096] = b'1' * len(x[::4096])")
    done = run.render("toy", progress=False, limits=Limits(memory=400 * 2**20))
    text = done.html.read_text(encoding="utf-8")
    assert done.ended == "out of memory" and done.failed == (3,) and "before" in text
    assert read_summary(done.html)["status"] == "out of memory"


def test_the_notebook_names_no_place_of_this_machine(house, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "planted-secret-value")
    house(
        "10_toy.ipynb",
        "import os\nprint(os.environ['SOME_TOKEN'], os.path.expanduser('~/x'))\nraise OSError(os.getcwd())",
    )
    done = run.render("toy", progress=False)
    for text in (done.notebook.read_text(), done.html.read_text()):
        assert "planted-secret-value" not in text and str(Path.home()) + "/x" not in text
        assert "<SOME_TOKEN>" in text or "&lt;SOME_TOKEN&gt;" in text
    assert "output_path" not in json.loads(done.notebook.read_text())["metadata"]["papermill"]


RENDER = """
import signal, sys
# Whatever started the tests may have told its children to ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from workbench.core import paths
paths.notebooks = lambda: Path(sys.argv[1])
from workbench.report.run import render
made = render("toy", progress=False)
print(made.ended, made.failed, made.html)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_printed_and_prints_no_trace(house, tmp_path, number):
    told = tmp_path / "begun"
    code = (
        f"open({str(told)!r}, 'w').close()\nfor i in range(600):\n    print('line', i, flush=True)\n    time.sleep(0.1)"
    )
    house("10_toy.ipynb", "import time", code)
    words = [sys.executable, "-c", RENDER, str(tmp_path / "notebooks")]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 90
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(3)
    child.send_signal(number)
    out, err = child.communicate(timeout=120)
    assert out.startswith("interrupted (3,)") and err == "", (out, err)
    assert "line 3" in Path(out.split(") ", 1)[1].strip()).read_text(encoding="utf-8")
