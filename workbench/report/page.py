"""What every page carries once: styles, scripts, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
OWN = TEMPLATES / "pintpot"


def modules() -> dict[str, str]:
    """Source of each interactive module by name."""
    folder = files("widgets") / "static"
    return {p.name.removesuffix(".js"): p.read_text("utf-8") for p in folder.iterdir() if p.name.endswith(".js")}


def as_expression(source: str) -> str:
    """A module as an expression, so that all of them fit into one inline script allowed by its hash."""
    body, mark, exported = source.rpartition("export default")
    if not mark or "\nimport " in source or "export " in body:
        raise ValueError("a panel module imports nothing and ends in one 'export default'")
    body = _dense(body)
    return f'(() => {{ "use strict";\n{body}return {exported.strip().rstrip(";")};\n}})()'


#: Strings and templates of a line of script, which are left as they are.
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)""")
#: What may be an expression for texts, or a template within a template: such a line is left alone.
_INTRICATE = re.compile(r"(?:[=(,:&|!?]|return)\s*/[^/ *]|\$\{[^}]*`")


def _dense(source: str) -> str:
    """A module without indentation, lines of comment and needless spaces, which a reader of a report does not need."""
    if any(line.count("`") % 2 for line in source.splitlines()):
        raise ValueError("a panel module keeps each template literal on one line")
    lines = (line.strip() for line in source.splitlines())
    return "".join(f"{_squeezed(line)}\n" for line in lines if line and not line.startswith("//"))


def _squeezed(line: str) -> str:
    if _INTRICATE.search(line):
        return line
    parts = _QUOTED.split(line)  # every second one is quoted
    parts[::2] = [re.sub(r" ?([{}()\[\];,=<>*?:&|!]) ?", r"\1", part) for part in parts[::2]]
    return "".join(parts)


def script(used: Sequence[str]) -> str:
    """The one script of a report: the modules it uses and the host that starts them."""
    sources = modules()
    entries = ",\n".join(f'"{name}": {as_expression(sources[name])}' for name in used)
    host = (OWN / "host.js").read_text("utf-8")
    return _closed(f"const PANELS = {{{entries}}};\n{host}")


def style() -> str:
    """The one style sheet: the page's and the panels', without comments and needless spaces."""
    text = re.sub(r"/\*.*?\*/", "", (OWN / "style.css").read_text("utf-8") + panel_style(), flags=re.DOTALL)
    return re.sub(r" ?([{};,]) ?", r"\1", " ".join(text.split())).replace(": ", ":").replace(";}", "}")


def panel_style() -> str:
    """The panels' own style sheet, all that they bring along where a notebook is live."""
    return (files("widgets") / "static" / "panel.css").read_text("utf-8")


def _closed(text: str) -> str:
    if "</script" in text.lower():
        raise ValueError("a script may not contain its own end tag")
    return text


def digest(text: str) -> str:
    """The source expression that allows exactly this inline text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy(scripts: Sequence[str], styles: Sequence[str], *, loose_styles: bool = False) -> str:
    """Content security policy by hash. ``loose_styles`` is for plotly, which writes style elements as it draws."""
    style_src = "'unsafe-inline'" if loose_styles else " ".join(map(digest, styles))
    return (
        f"default-src 'none'; script-src {' '.join(map(digest, scripts))}; style-src {style_src}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def plotly_source() -> str:
    """plotly.js as the installed package brings it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")


def packed(text: str) -> str:
    """Text as base64 of gzip, byte-stable."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
