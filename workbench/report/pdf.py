"""Prints a report to PDF by the print function of a Chromium that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from workbench.core.errors import ResourceMissing

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120  #: seconds
STARTING = 10_000  #: milliseconds of the page's own clock in which its panels start; waiting does not take them


def print_to_pdf(page: Path) -> Path:
    """The report as a PDF beside it, under its own name; an older one is replaced in one step.

    The page is drawn as on paper: light, code folded, every figure as its printed twin where a panel cannot be moved.
    Raises ``ResourceMissing`` without a browser, or when it printed nothing.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise ResourceMissing(f"no browser to print with; install one of {', '.join(BROWSERS)}")
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(dir=page.parent) as folder:
        made = Path(folder) / "page.pdf"
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={folder}/browser",
            "--no-pdf-header-footer",
            f"--virtual-time-budget={STARTING}",
            f"--print-to-pdf={made}",
            page.resolve().as_uri(),
        ]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses its sandbox to root
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise ResourceMissing(f"the browser did not print {page.name} within {PATIENCE} seconds") from None
        if not made.is_file() or not made.stat().st_size:
            said = done.stderr.strip().splitlines()
            raise ResourceMissing(f"the browser printed nothing of {page.name}: {said[-1] if said else 'no reason'}")
        made.replace(target)
    return target
