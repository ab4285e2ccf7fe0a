"""The built book that the browser tests visit, and a visit to it.

Needs Debian's Chromium (or $CHROMIUM) and a built book ($TERNARY_SITE, default book/_build/html): `make check-pages`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = (ROOT / os.environ.get("TERNARY_SITE", "book/_build/html")).resolve()
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
FOUND = [p.relative_to(SITE) for p in SITE.rglob("*.html")]
PAGES = sorted(p.as_posix() for p in FOUND if not {"_static", "_downloads"} & set(p.parts))
ALONE = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("_downloads/*/*.html"))
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


class Visit:
    """A page opened in a context of its own; notes console errors and requests that leave the book."""

    def __init__(self, browser, address: str, viewport: dict) -> None:
        self.context = browser.new_context(viewport=viewport)
        self.context.set_default_timeout(120_000)  # a busy machine is no fault of the page
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.address = address
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("response", lambda answer: self.errors.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._judge)

    def _judge(self, route) -> None:
        url = route.request.url
        if url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(url)
            route.abort()

    def open(self, path: str):
        """Open a page and wait until its mathematics is typeset."""
        self.page.goto(f"{self.address}/{path}", wait_until="load")
        if path == "index.html":  # it leads to the first page
            self.page.wait_for_url("**/book/intro.html")
            self.page.wait_for_load_state("load")
        self.page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        return self.page
