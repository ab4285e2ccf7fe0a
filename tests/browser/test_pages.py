"""Every page of the built book in a real Chromium: errors, outside requests, phone width, screen readers, search."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from built import ALONE, PAGES, PHONE, SITE


@pytest.mark.parametrize("path", PAGES + ALONE)
def test_page_loads_clean_and_asks_nothing_from_outside(visit, path):
    one = visit()
    one.open(path)
    assert one.outside == []
    assert one.errors == []


# Elements that widen the page itself: they end right of the window, and no box around them scrolls.
REACHING_OUT = """() => [...document.querySelectorAll('.bd-article *')].filter(element => {
  if (element.getBoundingClientRect().right <= innerWidth + 1) return false;
  for (let box = element.parentElement; box !== document.body; box = box.parentElement)
    if (getComputedStyle(box).overflowX !== 'visible') return false;
  return true;
}).map(e => e.tagName + '.' + e.className + ': ' + (e.innerText || '').slice(0, 40))"""


@pytest.mark.parametrize("path", PAGES)
def test_phone_never_scrolls_sideways(visit, path):
    page = visit(PHONE).open(path)
    for width in (PHONE["width"], 320):  # 320: WCAG 2.2, reflow
        page.set_viewport_size({**PHONE, "width": width})
        scrolls = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        assert not scrolls, f"{path} scrolls sideways at {width} pixels; reaching out: {page.evaluate(REACHING_OUT)}"


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
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; }")  # a colour half faded would be judged
    for theme, options in (("light", {"rules": TOOLS_FAULTS}), ("dark", {"runOnly": ["color-contrast"]})):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; document.documentElement.dataset.mode = theme; }", theme)
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


RARE, TARGET = "Yakowitz", "book/notebooks/01_theory.html"  # one chapter's prose has it; an operation's name may be in any run's results


@pytest.mark.parametrize("by", ["http", "file"])
def test_search_leads_to_the_page_that_a_rare_word_stands_on(visit, by):
    one = visit()
    if by == "file":
        one.address = SITE.as_uri()
    page = one.open(f"search.html?q={RARE}")
    page.wait_for_function("/matching|found/.test(document.querySelector('.search-summary').textContent)")
    found = page.eval_on_selector_all("#search-results li > a", "links => links.map(link => link.href.split('?')[0].split('#')[0])")
    assert found[0] == f"{one.address}/{TARGET}" and len(set(found)) < 4
    if by == "http":
        page.wait_for_selector("#search-results li p.context")
    page.click(f"#search-results li > a[href*='{TARGET}']")
    page.wait_for_url(f"**/{TARGET}*")
    assert RARE in page.inner_text(".bd-article")
    assert one.errors == one.outside == []


PAPER = {"width": 718, "height": 1047}  # A4 at 96 dots an inch, less a margin of one centimetre


@pytest.mark.parametrize("path", [p for p in PAGES if p != "index.html"])
def test_nothing_is_clipped_or_folded_on_paper(visit, path):
    page = visit(PAPER).open(path)
    page.emulate_media(media="print")
    page.wait_for_function("!document.querySelector('details:not([open])')", timeout=20_000)
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article *')]
          .filter(e => e.getClientRects().length && !e.closest('mjx-assistive-mml') && !e.parentElement.closest('svg'))
          .filter(e => e.getBoundingClientRect().right > innerWidth + 1
            || (getComputedStyle(e).overflowX !== 'visible' && e.clientWidth && e.scrollWidth > e.clientWidth + 1))
          .slice(0, 5).map(e => e.tagName + '.' + e.className + ': ' + (e.innerText || '').slice(0, 40))"""
    )
    folded = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article .admonition > *, .bd-article details > *')]
          .filter(e => getComputedStyle(e).visibility === 'hidden').map(e => e.innerText.slice(0, 40))"""
    )
    assert (cut, folded) == ([], [])
