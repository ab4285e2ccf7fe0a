"""A server for the built book, one Chromium, and visits."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest
from built import CHROMIUM, DESKTOP, OPTIONS, SITE, Visit
from playwright.sync_api import sync_playwright


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def address():
    """The site's address on this machine."""
    assert (SITE / "index.html").is_file(), f"no built book in {SITE}"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """Open pages: visit(viewport) gives a Visit; its context is closed afterwards."""
    opened = []

    def start(viewport: dict = DESKTOP) -> Visit:
        opened.append(Visit(browser, address, viewport))
        return opened[-1]

    yield start
    for one in opened:
        one.context.close()
