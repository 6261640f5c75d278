"""Texts that try to leave their place in a page, put wherever a report takes text from outside."""

from __future__ import annotations

from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

SCRIPT = "</script><script>window.pwned=1;document.title='pwned'</script>"
IMAGE = '<img src=x onerror="window.pwned=2">'
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" onload="window.pwned=3">'
    '<script>window.pwned=4</script><foreignObject><body onload="window.pwned=5"/></foreignObject>'
    '<a href="javascript:window.pwned=6"><text>t</text></a><image href="http://example.invalid/x.png"/>'
    '<rect style="fill:url(http://example.invalid/a)" width="9" height="9"/></svg>'
)
HTML = (
    f"<p>kept</p>{SCRIPT}{IMAGE}<iframe src='data:text/html,x'></iframe><style>body{{display:none}}</style>"
    "<form action='http://example.invalid'><input></form><a href='javascript:window.pwned=7'>link</a>"
    "<link rel=stylesheet href=http://example.invalid/a.css><div style='position:fixed'>d</div>"
)


def cells():
    """One cell for each way in: Markdown, every output type, code, and an error."""
    data = {"text/html": HTML, "text/plain": "x"}
    return [
        new_markdown_cell(f"## Hostile {IMAGE} {SCRIPT}\n\n{HTML}\n\n[go](javascript:window.pwned=8)"),
        new_code_cell(f"x = '{SCRIPT}'", outputs=[new_output("display_data", data=data)]),
        new_code_cell("svg", outputs=[new_output("display_data", data={"image/svg+xml": SVG, "text/plain": IMAGE})]),
        new_code_cell("js", outputs=[new_output("display_data", data={"application/javascript": "window.pwned=9",
                                                                      "text/plain": "only text"})]),
        new_code_cell("s", outputs=[new_output("stream", name="stdout", text=f"{SCRIPT}{IMAGE}\x1b[31mred\x1b[0m\n")]),
        new_code_cell("e", outputs=[new_output("error", ename="ValueError", evalue=IMAGE, traceback=[SCRIPT])]),
    ]  # fmt: skip
