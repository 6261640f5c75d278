"""A headless Chromium without network; its absence is loud, and an error where nobody looks on."""

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "figures"), str(ROOT / "report")]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


#: No name has an address: what a page asks of another host fails, and stands in the list of requests.
LOOPBACK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


def absent(reason):
    """Skip where somebody looks on; in CI nothing of this may be missing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def playwright():
    if shutil.which("chromium") is None:
        absent("no chromium on the path: NOTHING in tests/browser was checked (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@contextmanager
def chromium(playwright, profile, *arguments, **more):
    context = playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=shutil.which("chromium"),
        headless=True,
        args=[*ARGUMENTS, *arguments],
        accept_downloads=True,
        **more,
    )
    yield context
    context.close()


@pytest.fixture(scope="session")
def browser(playwright, tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    with chromium(playwright, profile, viewport={"width": 1100, "height": 900}, offline=True) as context:
        yield context


@pytest.fixture
def journeying(playwright, tmp_path_factory):
    """A visit to servers of this machine, in a browser of its own."""
    size = {"width": 1400, "height": 1000}
    with chromium(playwright, tmp_path_factory.mktemp("profile"), LOOPBACK, viewport=size) as context:
        visit = Visit(context.new_page())
        yield visit
        if os.environ.get("PINTPOT_SHOTS"):
            visit.page.screenshot(path=f"{os.environ['PINTPOT_SHOTS']}/journey.png")


class Visit:
    """A page with what it asked for and what it complained about."""

    def __init__(self, page):
        self.page, self.requests, self.complaints = page, [], []
        page.on("request", lambda r: self.requests.append(r.url))
        page.on("websocket", lambda s: self.requests.append(s.url))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def open(self, path):
        self.page.goto(path.as_uri())
        # A waiting expression would be evaluated in the page, which its policy forbids.
        self.page.wait_for_selector("html[data-ready=yes]", state="attached")
        return self.page

    @property
    def outside(self):
        return [url for url in self.requests if not url.startswith(("file:", "blob:", "data:"))]

    def beyond(self, port):
        """What was asked of anybody but the server at this port."""
        return [
            url for url in self.outside if not url.startswith(tuple(f"{s}://127.0.0.1:{port}/" for s in ("http", "ws")))
        ]


@pytest.fixture
def visit(browser):
    page = browser.new_page()
    yield Visit(page)
    page.close()
