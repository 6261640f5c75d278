"""One notebook as a page of panels for its owner: Voila, pinned like the notebook server and with less to reach."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workbench.cli.serving import PINNED, Server, with_pinned
from workbench.core import paths
from workbench.core.errors import Unsafe


@dataclass(frozen=True)
class Dashboard(Server):
    """Where Voila may listen: on this machine only, because it cannot encrypt. ``page`` is the notebook it serves.

    Its settings are in ``jupyter/voila.json``, the only ones it reads, and the page's template beside it, because
    Voila's own asks another host for an icon font. A policy lets a page load from this server alone; widgets' templates
    are compiled in the browser, hence its unsafe-eval. A visitor sees outputs and uses panels, and can neither send
    code nor read files.
    """

    port: int = 8866

    def command(self) -> list[str]:
        """As of :class:`Server`. Raises ``Unsafe`` for any address beyond this machine."""
        self._check()
        own = {
            "Voila.config_file_paths": str(PINNED),
            "Voila.ip": self.address,
            "Voila.port": self.port,
            "Voila.root_dir": str(self.root),
            "Voila.open_browser": False,  # it would open the address without the token
        }
        words = [f"--{name}={value}" for name, value in own.items()]
        return [sys.executable, "-m", "voila", *words, str(self.root / self.page)]

    def environment(self) -> dict[str, str]:
        """The token, our template, and the folders of this process, since the kernel works in another one."""
        folders = {"PINTPOT_RUNS": paths.runs().resolve(), "PINTPOT_REPORTS": paths.reports().resolve()}
        found = {name: str(folder) for name, folder in folders.items()}
        return {**super().environment(), "JUPYTER_PATH": with_pinned("JUPYTER_PATH"), **found}

    @property
    def _path(self) -> str:
        return "/"

    def _check(self) -> None:
        if not self._loopback:
            raise Unsafe(
                f"address: {self.address} can be reached from other machines, and Voila does not encrypt. "
                "Leave it out, or use an SSH tunnel"
            )


@contextmanager
def with_values(notebook: Path, values: Mapping[str, Any]) -> Iterator[Path]:
    """A copy of the notebook with its parameters set, alone in a folder for as long as it is served."""
    from workbench.report.schemas import quick_schemas

    quick_schemas()
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    with TemporaryDirectory(prefix="pintpot-app-") as folder:
        copy = Path(folder) / "served" / notebook.name
        copy.parent.mkdir()
        source = load_notebook_node(str(notebook))
        nbformat.write(parameterize_notebook(source, dict(values)) if values else source, copy)
        yield copy


def open_browser(url: str, folder: Path) -> None:
    """Open an address that holds a token by way of a file of ours: a browser's command line is public."""
    import html
    import webbrowser

    page = folder / "open.html"
    page.touch(mode=0o600)
    page.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(url)}">', encoding="utf-8")
    webbrowser.open(page.as_uri())
