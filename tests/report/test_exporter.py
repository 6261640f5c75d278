"""One file, locked down, nothing fetched, nothing hidden."""

import base64
import gzip
import hashlib
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import hostile
import pytest
import synthetic
from make_notebook import output, synthetic_notebook
from nbformat.v4 import new_code_cell, new_output

from workbench.report import emit, outputs, page
from workbench.report.exporter import to_html
from workbench.report.gallery import read_summary, thumbnail


class Elements(HTMLParser):
    """Every element with its attributes and the raw text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self.inside = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.found[-1][2] += data

    def all(self, tag):
        return [(a, t) for name, a, t in self.found if name == tag]


@pytest.fixture(scope="module")
def clean_page():
    return to_html(synthetic_notebook(synthetic.comparison()))[0]


@pytest.fixture(scope="module")
def hostile_page():
    records = [replace(r, method=r.method + hostile.IMAGE, reason=hostile.SCRIPT) for r in synthetic.comparison()]
    return to_html(synthetic_notebook(records, title=f"Title {hostile.SCRIPT}", extra=hostile.cells()))[0]


def executable(text):
    return [(a, t) for a, t in Elements(text).all("script") if a.get("type") in (None, "module", "text/javascript")]


@pytest.mark.parametrize("which", ["clean_page", "hostile_page"])
def test_policy_allows_exactly_the_scripts_of_the_page_by_hash(which, request):
    text = request.getfixturevalue(which)
    elements = Elements(text)
    (policy,) = [a["content"] for a, _ in elements.all("meta") if "Content-Security" in a.get("http-equiv", "")]
    assert "default-src 'none'" in text and "base-uri 'none'" in policy and "form-action 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    scripts = executable(text)
    assert len(scripts) == 1
    for _, source in scripts + elements.all("style"):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "style" not in {name for _, a, _ in elements.found for name in a}, "the policy would refuse it"


@pytest.mark.parametrize("which", ["clean_page", "hostile_page"])
def test_nothing_is_fetched_and_nothing_handles_events(which, request):
    for tag, attributes, _ in Elements(request.getfixturevalue(which)).found:
        assert tag not in ("iframe", "object", "embed", "link", "form", "base", "foreignobject", "audio", "video")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
                allowed = ("#", "data:image/png;base64,", "data:image/jpeg;base64,")
                assert value.startswith(allowed) or (tag == "a" and value.startswith(("http://", "https://"))), value
            assert "javascript:" not in (value or "").lower()


def test_size_and_parts(clean_page):
    assert len(clean_page.encode()) < 300_000
    elements = Elements(clean_page)
    figures = [a for a, _ in elements.all("figure")]
    assert len(figures) == 9  # eight figures and one table
    for attributes, _ in elements.all("div"):
        if attributes.get("role") == "img":
            assert len(attributes["aria-label"]) > 20
    assert clean_page.index('class="answer"') < clean_page.index('id="figure-1"') < clean_page.index('id="table-1"')
    assert clean_page.count("<figcaption>") == len(figures)
    assert (
        '<details class="code">' in clean_page and "prefers-color-scheme" in clean_page and "@media print" in clean_page
    )
    anchors = re.findall(r'<li class="level-\d"><a href="#([^"]+)"', clean_page)
    assert len(anchors) == 6 and all(f'id="{name}"' in clean_page for name in anchors)
    ids = re.findall(r'\bid="([^"]+)"', clean_page)
    assert len(ids) == len(set(ids))


def test_every_figure_carries_its_data(clean_page):
    found = [(a, t) for a, t in Elements(clean_page).all("script") if (a.get("id") or "").endswith("-data")]
    assert len(found) == 9
    for attributes, text in found:
        if attributes["type"] == "application/gzip":
            text = gzip.decompress(base64.b64decode(text)).decode()
        data = json.loads(text)["csv"]
        assert data.count("\n") > 2 if isinstance(data, str) else min(map(len, data)) > 2


def test_hostile_text_is_shown_as_text(hostile_page):
    assert "&lt;/script&gt;&lt;script&gt;" in hostile_page
    assert "<p>kept</p>" in hostile_page and "only text" in hostile_page
    assert "example.invalid" not in re.sub(r"&lt;.*?&gt;", "", hostile_page)


def test_failures_are_branded_and_never_hidden(hostile_page):
    assert "FAILED at cell 15" in hostile_page and "FAILED: cell 15" in hostile_page
    assert "ValueError" in hostile_page


def test_a_file_that_a_cell_writes_is_shown_and_where_it_went_is_not():
    source = "%%writefile {file}\nname = '<b>'"
    told = new_output("stream", text="Writing /somewhere/else.py")
    wrote, broken = new_code_cell(source, outputs=[told]), new_code_cell(source)
    broken.outputs = [new_output("error", ename="OSError", evalue="no room", traceback=[])]
    found = to_html(synthetic_notebook(synthetic.comparison(), extra=[wrote]))[0]
    assert re.search(r"<pre class=.file.[^>]*><code>.*&lt;b&gt;.*\s*</code></pre>", found, re.S)
    assert "/somewhere" not in found and "%%writefile" not in found
    assert "no room" in to_html(synthetic_notebook(synthetic.comparison(), extra=[broken]))[0]


def test_numbers_of_failed_cells_come_back():
    cell = new_code_cell("1/0", outputs=[new_output("error", ename="ZeroDivisionError", evalue="x", traceback=["t"])])
    _, resources = to_html(synthetic_notebook(synthetic.comparison()[:1], extra=[cell]))
    assert resources["failed"] == [11]


def test_paths_of_this_machine_do_not_leave_it():
    trace = f"File {sys.prefix}/lib/x.py\n{Path.home()}/secret\n/tmp/ipykernel_123/456.py"
    cells = [
        new_code_cell("a", outputs=[new_output("stream", name="stdout", text=trace)]),
        new_code_cell("b", outputs=[new_output("error", ename="E", evalue=trace, traceback=[trace])]),
    ]
    text, _ = to_html(synthetic_notebook(synthetic.comparison()[:1], extra=cells))
    assert sys.prefix not in text and f"{Path.home()}/secret" not in text and "ipykernel_123" not in text
    assert "&lt;python&gt;/lib/x.py" in text


def test_plotly_runs_by_its_own_hash_and_only_when_used(clean_page):
    assert "plotly-library" in clean_page and 'id="plotly-library"' not in clean_page
    payload = {"data": [{"type": "bar", "y": [1, 2], "name": hostile.SCRIPT}], "layout": {}}
    cell = new_code_cell("p", outputs=[output("application/vnd.plotly.v1+json", payload)])
    text, _ = to_html(synthetic_notebook(synthetic.comparison()[:1], extra=[cell]))
    assert len(text.encode()) < 3_000_000
    assert page.digest(page.plotly_source()) in text
    assert len(executable(text)) == 1


def test_progress_lines_show_their_last_state_only():
    cell = new_code_cell("t", outputs=[new_output("stream", name="stderr", text="\rstep 1\rstep 2\rstep 3 done\n")])
    text, _ = to_html(synthetic_notebook(synthetic.comparison()[:1], extra=[cell]))
    assert "step 3 done" in text and "step 2" not in text


def test_summary_is_read_back(tmp_path, hostile_page):
    path = tmp_path / "a.html"
    path.write_text(hostile_page, encoding="utf-8")
    summary = read_summary(path)
    assert summary["status"] == "failed" and summary["title"] == "Title"
    assert summary["thumbnail"]["points"]


def test_thumbnail_takes_numbers_and_colours_only():
    assert thumbnail({"points": [[10, 0.5, '"/><script>'], ["x", 1, "#000000"], [10, float("nan"), "#000000"]]}) == ""
    assert "circle" in thumbnail({"points": [[10, 0.5, "#0072B2"]], "budget": 20})
    assert thumbnail("nonsense") == thumbnail(None) == ""


def test_csv_cells_are_no_formulas():
    text = emit.to_csv([{"method": "=1+1", "n": -1, "x": None}])
    assert text == "method,n,x\n'=1+1,-1,\n"


def test_numbers_are_whole_or_have_six_digits():
    assert emit.to_csv([{"a": 188375016.0, "b": 0.123456789}]) == "a,b\n188375016,0.123457\n"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ('a,b\n1,"x, ""y""\nz"\n', [["a", "1"], ["b", 'x, "y"\nz']]),
        ("a,b\n1,2", None),  # would come back with a last line break
        ("a,b\n1\n", None),
        ("a\n1\n", None),
        ("", None),
    ],
)
def test_data_is_kept_by_column_where_it_comes_back_the_same(text, columns):
    assert outputs.by_column(text) == (text if columns is None else columns)


def test_a_module_loses_spaces_and_nothing_that_is_quoted():
    source = """  const a = { "b : c": `x , ${ d } y` }; // e
  const f = (g) => g.split(/ , /).map((h) => h < 1 ? .5 : -1);
  const i = j > 0 ? `k ${l ? ` , ${m}` : ""}` : null;
export default { a };"""
    made = page.as_expression(source).splitlines()
    assert made[1] == 'const a={"b : c":`x , ${ d } y`};// e'
    assert made[2:4] == [line.strip() for line in source.splitlines()[1:3]], "regular and nested ones are left alone"
    assert not re.search(r"/\*|\n|: (?!hover)", page.style())


def test_modules_import_nothing_and_stay_small():
    for name, source in page.modules().items():
        assert page.as_expression(source)
        assert 2_000 < len(source.encode()) <= 20 * 1024, name
        assert "http" not in source.replace("http://www.w3.org/2000/svg", ""), name
        assert "innerHTML" not in source


def test_thumbnail_draws_bars_and_leaves_out_what_is_no_number():
    drawn = str(thumbnail({"bars": [[[3, "#0072B2"], [1, "#D55E00"]], [["<script>", "#0072B2"], [1, "url(x)"]]]}))
    assert drawn.count("<rect") == 2 and "script" not in drawn and "url" not in drawn
    assert str(thumbnail({"bars": "no rows"})) == ""


@pytest.mark.parametrize("page", sorted((Path(__file__).parents[2] / "reports" / "example").glob("*.html")))
def test_a_shown_report_of_real_runs_is_small(page):
    assert 100_000 < page.stat().st_size < 300_000


def test_what_a_lesson_asserts_is_read_without_unfolding_unless_it_failed():
    from nbformat.v4 import new_notebook

    def shown(outputs):
        cell = new_code_cell("assert 1 < 2, 'as it should be'", outputs=outputs, metadata={"tags": ["keep-input"]})
        return to_html(new_notebook(cells=[cell]))[0]

    assert 'class="file"' in shown([]) and '<details class="code"' not in shown([])
    failed = shown([new_output("error", ename="AssertionError", evalue="as it should be", traceback=[])])
    assert 'class="failure"' in failed and '<details class="code" open' in failed


@pytest.mark.parametrize("make", ["curves", "fit", "pareto", "categories", "prediction"])
def test_a_report_whose_one_figure_has_numbers_has_a_thumbnail(make):
    from make_notebook import figure_output
    from nbformat.v4 import new_notebook

    from workbench import figures

    cell = new_code_cell("show()", outputs=[figure_output(getattr(figures, make)(synthetic.comparison()))])
    summary = json.loads(re.search(r'id="pintpot-report">(.*?)</script>', to_html(new_notebook(cells=[cell]))[0])[1])
    drawn = str(thumbnail(summary["thumbnail"]))
    assert drawn.count("<circle") + drawn.count("<rect") >= 4


def test_the_head_says_sizes_in_words_and_nothing_that_was_left_open():
    notebook = synthetic_notebook(synthetic.comparison()[:1])
    notebook.metadata["pintpot"]["params"] = {"budget": "11330485", "train": 0, "my_batch": 0, "seed": 0, "batch": 16}
    shown = to_html(notebook)[0]
    assert "<b>budget</b> 10.8 MiB" in shown and "<b>seed</b> 0" in shown and "<b>batch</b> 16" in shown
    assert "<b>train</b>" not in shown and "<b>my_batch</b>" not in shown
