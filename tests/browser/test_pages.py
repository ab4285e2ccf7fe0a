"""The built book in a real Chromium: errors, outside requests, phone width, and that what should move moves.

Needs Debian's Chromium (or $CHROMIUM) and a built book ($TERNARY_SITE, default book/_build/html): `make check-pages`.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from curves import close, plotted
from playwright.sync_api import sync_playwright

from ternary_lib import load_model
from ternary_lib.config import load_config
from ternary_lib.coverage import cell_counts
from ternary_lib.explorer_svg import round_up
from ternary_lib.operations import from_index, is_associative, is_commutative, to_index
from ternary_lib.schedules import tau_a, tau_b

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


@pytest.mark.parametrize("path", PAGES + ALONE)
def test_page_loads_clean_and_asks_nothing_from_outside(visit, path):
    one = visit()
    one.open(path)
    assert one.outside == []
    assert one.errors == []


@pytest.mark.parametrize("path", PAGES)
def test_phone_never_scrolls_sideways(visit, path):
    page = visit(PHONE).open(path)
    reaching_out = page.evaluate(
        "() => [...document.querySelectorAll('.bd-article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".slice(0, 5).map(e => e.tagName + '.' + e.className + ': ' + (e.innerText || '').slice(0, 40))"
    )
    scrolls = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert not scrolls, f"{path} scrolls sideways; reaching out: {reaching_out}"


@pytest.mark.parametrize("path", [p for p in PAGES if p not in {"genindex.html", "search.html", "index.html"}])
def test_mathematics_is_typeset(visit, path):
    page = visit().open(path)
    untypeset = "e => !e.querySelector('mjx-container')"
    raw = page.evaluate(f"() => [...document.querySelectorAll('.math')].filter({untypeset}).map(e => e.innerText)")
    assert raw == []
    assert page.query_selector_all("mjx-merror, [data-mjx-error]") == []


# Rules that the tools' own markup breaks: the theme's logo lies in no landmark, Sphinx sets long signatures as lists of one kind.
TOOLS_FAULTS = {rule: {"enabled": False} for rule in ("region", "definition-list")}


@pytest.mark.parametrize("path", PAGES)
def test_page_can_be_used_with_a_screen_reader(visit, path):
    page = visit().open(path)
    axe, faults = Axe(), []
    for theme, options in (("light", {"rules": TOOLS_FAULTS}), ("dark", {"runOnly": ["color-contrast"]})):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; document.documentElement.dataset.mode = theme; }", theme)
        page.wait_for_timeout(300)  # colours fade from one theme to the other
        found = axe.run(page, options=options).response["violations"]
        faults += [(theme, fault["id"], node["html"][:200]) for fault in found for node in fault["nodes"]]
    assert faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_headline_figure_can_be_read(visit, theme):
    page = visit().open("book/intro.html")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; document.documentElement.dataset.mode = theme; }", theme)
    contrast = page.evaluate(
        """() => {
          const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                               return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const svg = document.querySelector('.ternary-figure svg');
          let ground = svg;
          while (ground && /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
          const a = light(rgb(getComputedStyle(svg).color));
          const b = light(rgb(ground ? getComputedStyle(ground).backgroundColor : 'rgb(255, 255, 255)'));
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }"""
    )
    assert contrast > 4.5


def test_explorer_moves(visit):
    one = visit()
    page = one.open("book/notebooks/04_phase_dynamics.html")
    page.wait_for_selector(".widget-slider, .jupyter-widgets [role=slider]")
    assert _moves(page), "moving the explorer's first slider changes nothing"
    assert one.outside == []


def _moves(page) -> bool:
    widgets = "[...document.querySelectorAll('.jupyter-widgets')].map(e => e.innerHTML).join('')"
    picture = f"() => {widgets}.replace(/(left|style|aria-value\\w+)=\"[^\"]*\"/g, '')"
    page.wait_for_timeout(500)
    before = page.evaluate(picture)
    slider = page.query_selector(".jupyter-widgets .noUi-handle")
    slider.focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):  # whichever way there is room
        slider.press(key)
        page.wait_for_timeout(300)
        if page.evaluate(picture) != before:
            return True
    return False


def test_page_explorer_draws_the_librarys_curves_and_writes_a_file_that_trains_on_them(visit, tmp_path):
    one = visit()
    page = one.open("book/explorer.html")
    page.wait_for_selector("#schedule-explorer[data-state=ready]")
    base = load_config(page.evaluate("JSON.parse(document.getElementById('schedule-explorer-data').textContent).presets[0].path"))
    for key, value in {"tau_a.boost": 0.25, "tau_a.period": 5.5, "rho.final": 0.95}.items():
        page.fill(f"input[type=number][data-key='{key}']", str(value))
    page.fill("#explorer-name", "turned")
    page.wait_for_function("document.getElementById('explorer-yaml').textContent.includes('0.95')")
    with page.expect_download() as arriving:
        page.click("#explorer-download")
    arriving.value.save_as(tmp_path / arriving.value.suggested_filename)
    made = load_config(tmp_path / "turned.yaml").schedules
    assert (made.tau_a.boost, made.tau_a.period, made.rho.final, made.tau_b) == (0.25, 5.5, 0.95, base.schedules.tau_b)
    epochs, svg = made.total_epochs, page.inner_html(".panel")
    expected = {function.__name__: [function(t, made) for t in range(epochs)] for function in (tau_a, tau_b)}
    top = round_up(max(v for s in (made, base.schedules) for f in (tau_a, tau_b) for t in range(epochs) for v in (f(t, s),)))
    for name, values in expected.items():
        assert close(plotted(svg.replace('"', "'"), name, top, epochs), values, top), name
    page.fill("input[type=number][data-key='phases.0']", str(made.phases[1] + 1))
    page.wait_for_selector("#schedule-explorer[data-state=fault]")
    assert "phases must rise" in page.inner_text("#schedule-explorer .status")
    page.click("#explorer-reset")
    page.wait_for_selector("#schedule-explorer[data-state=ready]")
    assert "schedules:" not in page.inner_text("#explorer-yaml")
    assert one.outside == one.errors == []


def test_page_explorer_moves_by_keyboard(visit):
    page = visit(PHONE).open("book/explorer.html")
    page.wait_for_selector("#schedule-explorer[data-state=ready]")
    before = page.inner_html(".panel")
    page.focus("input[type=range][data-key='tau_a.boost']")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("before => document.querySelector('.panel').innerHTML !== before", arg=before)
    moved = float(page.input_value("input[type=number][data-key='tau_a.boost']"))
    assert f"tau_a: {{boost: {moved}}}" in page.inner_text("#explorer-yaml"), "the file holds the one number that the key moved"


def test_page_explorer_read_from_a_file_says_so_and_keeps_its_first_drawing(browser):
    page = browser.new_page()
    page.goto((SITE / "book/explorer.html").as_uri())
    assert "over http" in page.inner_text("#schedule-explorer .status")
    assert page.locator("#schedule-explorer svg").count() == 3
    page.close()


LIVE = ".ternary-live[data-state=ready]"


def _set(page, name: str, value: object) -> None:
    page.fill(f"[data-part={name}]", str(value))
    page.dispatch_event(f"[data-part={name}]", "change")


def _shown(page, name: str) -> tuple[list[int], list[float]]:
    """A decoded table: its values and their probabilities."""
    read = "c => [c.dataset.trit, c.querySelector('small').innerText]"
    cells = page.evaluate(f"[...document.querySelectorAll('[data-part={name}] td')].map({read})")
    return [int(trit) - 1 for trit, _ in cells], [float(text.rstrip(" %")) / 100 for _, text in cells]


def _expected(pathway, z) -> tuple[list[int], list[float]]:
    top = pathway.decoder(z).softmax(-1).max(-1)
    return (top.indices - 1)[0].tolist(), top.values[0].tolist()


@torch.inference_mode()
def test_live_tables_show_what_the_library_computes(visit):
    one, model = visit(), load_model("ternary_v5_5")
    page = one.open("book/tables.html")
    page.wait_for_selector(LIVE)
    start = page.input_value("[data-part=index]")
    page.click("[data-cell='8']")  # +1 becomes -1
    assert page.input_value("[data-part=index]") == str(int(start) - 2)
    page.focus("[data-cell='8']")
    page.keyboard.press("+")
    assert page.input_value("[data-part=index]") == start
    codes = {}
    for index in (0, 19_682, 4_049, 881, 12_345, 7_777):
        _set(page, "index", index)
        x = from_index(index)[None]
        said = page.inner_text("[data-part=properties]")
        assert ("not commutative" not in said, "not associative" not in said) == (bool(is_commutative(x)), bool(is_associative(x)))
        for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
            codes[name, index] = pathway.encoder(x)[0]
            table, probability = _shown(page, f"decoded-{name}")
            wanted, sureness = _expected(pathway, codes[name, index])
            assert table == wanted
            assert probability == pytest.approx(sureness, abs=6e-4)  # three digits are shown
            verdict = page.inner_text(f"[data-part=verdict-{name}]")
            assert (verdict == "exact") == (int(to_index(torch.tensor(table))) == index), verdict
    _set(page, "target", 881)
    page.fill("[data-part=share]", "30")
    for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
        z = torch.lerp(codes[name, 7_777], codes[name, 881], 0.3)
        assert _shown(page, f"walk-{name}")[1] == pytest.approx(_expected(pathway, z)[1], abs=6e-4)
    assert one.outside == one.errors == []


def test_live_coverage_grows_as_the_library_expects(visit):
    page = visit().open("book/tables.html")
    page.wait_for_selector(LIVE)
    page.click("[data-draws='10000']")
    page.wait_for_function("document.querySelector('[data-part=drawn]').innerText === '10,000'")
    model = load_model("ternary_v5_5")
    for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
        masses = cell_counts(pathway.decoder, 1_968_300, torch.Generator().manual_seed(1)).double() / 1_968_300
        hit = -torch.expm1(10_000 * torch.log1p(-masses))
        found = float(page.inner_text(f"[data-part=found-{name}]").replace(",", ""))
        spread = float((hit * (1 - hit)).sum().sqrt())  # an upper bound: cells compete for draws
        assert abs(found - float(hit.sum())) < 4 * spread


def test_live_tables_work_from_a_file(browser):
    page = browser.new_page()
    page.goto((SITE / "book/tables.html").as_uri())
    page.wait_for_selector(LIVE)
    page.select_option("[data-part=named]", "113")
    assert page.input_value("[data-part=index]") == "113"
    page.close()


def test_search_finds_a_word(visit):
    page = visit().open("search.html?q=ternary")
    page.wait_for_selector("#search-results li")
    assert page.query_selector_all("#search-results li a")
