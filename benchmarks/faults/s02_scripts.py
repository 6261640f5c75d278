"""S2: script payloads in every text of a report, in a real browser: none may run, every chart must be drawn."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from faults.frame import Absent, Experiment, Figures, Setting

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tests" / part) for part in ("figures", "report")]

RUN = "window.pwned=1"
PAYLOADS = (
    f"<script>{RUN}</script>", f"</script><script>{RUN}</script>", f"</style><script>{RUN}</script>",
    f"</title><script>{RUN}</script>", f"</textarea><script>{RUN}</script>", f"--><script>{RUN}</script>",
    f"]]><script>{RUN}</script>", f'"><script>{RUN}</script>', f"'><script>{RUN}</script>", f"<ScRiPt>{RUN}</sCrIpT>",
    f"<script/x>{RUN}</script>", f"<script\n>{RUN}</script>", f"<<script>{RUN}//<</script>", f"<script>{RUN}",
    f"<img src=x onerror={RUN}>", f'<img src=x onerror="{RUN}">', f"<img/src=x/onerror={RUN}>",
    f"<img src=x oNeRrOr={RUN}>",
    f"<svg onload={RUN}>", f"<svg/onload={RUN}//", f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>", f"<svg><foreignObject><img src=x onerror={RUN}>",
    f"<svg><style><img src=x onerror={RUN}></style>", f"<svg><a href='javascript:{RUN}'><text>x</text></a>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>", f"<body onload={RUN}>", f"<body onpageshow={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>", f"<iframe src='javascript:parent.{RUN}'></iframe>",
    f"<object data='data:text/html,<script>parent.{RUN}</script>'></object>", f"<embed src='javascript:{RUN}'>",
    f"<video><source onerror={RUN}></video>", f"<audio src=x onerror={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<input autofocus onfocus={RUN}>", f"<select autofocus onfocus={RUN}>", f"<marquee onstart={RUN}>x</marquee>",
    f"<div style='animation:x 1s' onanimationstart={RUN}>", f"<style>@keyframes x{{}}</style><b onanimationend={RUN}>",
    f"<a href='javascript:{RUN}' class='go'>x</a>", f"<a href='&#106;avascript:{RUN}' class='go'>x</a>",
    f"<a href='java\tscript:{RUN}' class='go'>x</a>", f"[x](javascript:{RUN})",
    f"[x](data:text/html,<script>{RUN}</script>)",
    f"![x](x onerror={RUN})", f"<form action='javascript:{RUN}'><button autofocus>x</button></form>",
    f"<base href='javascript:{RUN}//'>", f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<link rel=stylesheet href='http://example.invalid/x.css'>", "<img src='http://example.invalid/x.png'>",
    f"<template><script>{RUN}</script></template><script>{RUN}</script>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"${{{RUN}}}", f"{{{{ {RUN} }}}}", f"{{% raw %}}<script>{RUN}</script>", f"';{RUN};'", f"\\u003cscript\\u003e{RUN}",
    f"\u2028{RUN}\u2029", f"<!--<script>{RUN}--></script><script>{RUN}</script>", f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"<x onclick={RUN} contenteditable autofocus tabindex=1 onfocus={RUN}>x", f"\x00<script>{RUN}</script>",
    f"<script type=module>{RUN}</script>",
)  # fmt: skip


def _notebook(payload: str) -> Any:
    """A whole report with the payload in labels, data, title, Markdown, code, and every kind of output."""
    from dataclasses import replace

    import synthetic
    from make_notebook import output, synthetic_notebook
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

    records = [replace(r, method=r.method + payload, model=payload, reason=payload) for r in synthetic.comparison()]
    plotly = {"data": [{"type": "scatter", "x": [1, 2], "y": [3, 4], "name": payload, "text": [payload] * 2},
                       {"type": "bar", "x": [payload, "b"], "y": [1, 2], "name": payload}],
              "layout": {"title": {"text": payload}, "xaxis": {"title": {"text": payload}}}}  # fmt: skip
    rich = {"text/html": payload, "text/plain": payload}
    extra = [
        new_markdown_cell(f"## {payload}\n\n{payload}\n"),
        new_code_cell(payload, outputs=[new_output("display_data", data=rich)]),
        new_code_cell("s", outputs=[new_output("display_data", data={"image/svg+xml": f"<svg>{payload}</svg>"})]),
        new_code_cell(
            "j", outputs=[new_output("display_data", data={"application/javascript": RUN, "text/plain": "t"})]
        ),
        new_code_cell("t", outputs=[new_output("stream", name="stdout", text=payload)]),
        new_code_cell("p", outputs=[output("application/vnd.plotly.v1+json", plotly)]),
        new_code_cell("e", outputs=[new_output("error", ename=payload, evalue=payload, traceback=[payload])]),
    ]
    notebook = synthetic_notebook(records, title=f"Title {payload}", extra=extra)
    notebook.metadata["pintpot"]["params"]["task"] = payload
    return notebook


@contextmanager
def _browser(folder: Path) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise Absent("no chromium on the path, so NOTHING of this was checked (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, headless=True, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield started.new_context(offline=True)
        started.close()


def _visited(setting: Setting, pages: Any, *, charts: bool) -> Figures:
    """Open every page; count scripts that ran, requests that went out, charts that should and did appear."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    found: Figures = {"pages": 0, "executed": 0, "requests": 0, "charts": 0, "drawn": 0}
    with _browser(setting.folder) as context:
        for number, text in enumerate(pages):
            file = setting.folder / f"page-{number}.html"
            file.write_text(text, "utf-8", errors="replace")
            page, asked = context.new_page(), []
            page.on("request", lambda r, asked=asked: asked.append(r.url))
            page.goto(file.as_uri(), wait_until="load")
            if charts:
                page.wait_for_function("document.documentElement.dataset.ready === 'yes'", timeout=30_000)
                page.wait_for_timeout(600)
            for link in page.locator("a.go, .prose a[href^='java']").all()[:3]:
                # A payload that ran may have taken the links of a page without our guards away.
                with nullcontext() if charts else suppress(PlaywrightTimeout):
                    link.dispatch_event("click", timeout=30_000 if charts else 1_000)
            page.wait_for_timeout(150)
            found["pages"] += 1
            found["executed"] += page.evaluate("window.pwned") is not None
            found["requests"] += sum(url.startswith(("http", "ws", "ftp")) for url in asked)
            if charts:
                found["charts"] += page.locator("figure:not(.table)").count()
                drawn = "els => els.filter(e => e.querySelector('svg, canvas, img')).length"
                found["drawn"] += page.locator("figure:not(.table)").evaluate_all(drawn)
            page.close()
    return found


def _pages(setting: Setting) -> Iterator[str]:
    from workbench.report.exporter import to_html

    step = max(1, len(PAYLOADS) // setting.size)
    # A small run puts many payloads into one page, a long one gives each a page.
    for first in range(0, len(PAYLOADS), step):
        yield to_html(_notebook(" ".join(PAYLOADS[first : first + step])))[0]


def ours(setting: Setting) -> Figures:
    return _visited(setting, _pages(setting), charts=True)


def unguarded(setting: Setting) -> Figures:
    """Our pages without the policy and without the sanitiser."""
    from markupsafe import Markup

    with (
        mock.patch("workbench.report.outputs.sanitised", Markup),
        mock.patch("workbench.report.markdown.sanitised", Markup),
    ):
        pages = [text.replace("Content-Security-Policy", "Nothing") for text in _pages(setting)]
    return _visited(setting, pages, charts=False) | {"charts": 1, "drawn": 1}


def _nbconvert(setting: Setting, *, sanitise: bool) -> Figures:
    import re

    from nbconvert import HTMLExporter

    pages = []
    for payload in PAYLOADS if setting.long else PAYLOADS[:4]:
        text, _ = HTMLExporter(sanitize_html=sanitise).from_notebook_node(_notebook(payload))
        pages.append(re.sub(r'<script src="https?://[^"]*"[^>]*></script>', "", text))
    return _visited(setting, pages, charts=False)


def nbconvert(setting: Setting) -> Figures:
    return _nbconvert(setting, sanitise=False)


def nbconvert_sanitised(setting: Setting) -> Figures:
    return _nbconvert(setting, sanitise=True)


EXPERIMENT = Experiment(
    name="S2",
    test=f"{len(PAYLOADS)} script payloads in labels, data, title, Markdown, code and outputs, in a real browser",
    target="none runs, nothing is requested, every chart is drawn",
    unit="pages",
    short=2,
    long=len(PAYLOADS),
    ours=ours,
    met=lambda f: f["pages"] > 0 and not f["executed"] and not f["requests"] and f["charts"] == f["drawn"] > 0,
    controls={"without policy and sanitiser": unguarded},
    peers={"nbconvert": nbconvert, "nbconvert, sanitize_html": nbconvert_sanitised},
    note="Pages of nbconvert lose their links to outside libraries first; that they ask for them is not counted. "
    "Its charts are not compared: figures of ours are a kind of output that it does not know.",
)
