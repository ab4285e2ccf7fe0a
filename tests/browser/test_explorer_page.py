"""The schedule explorer in a real Chromium, in the chapter and on its page."""

from __future__ import annotations

from built import PHONE, SITE
from curves import close, plotted

from ternary_lib.config import load_config
from ternary_lib.explorer_svg import round_up
from ternary_lib.schedules import tau_a, tau_b


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
